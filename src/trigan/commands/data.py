"""``trigan data check``: what a run would find in its data set."""

import re

from trigan.commands.arguments import command_parser
from trigan.errors import ConfigError


def main(arguments: list[str]) -> int:
    """Report on the data set that the settings choose; 1 if it holds an error."""
    if arguments[:1] in (["-h"], ["--help"]):
        arguments = ["check", "--help"]
    if arguments[:1] != ["check"]:
        raise ConfigError("trigan data: expected `trigan data check [data=CHOICE] [data.root=PATH]`")
    parser = command_parser(
        "data check",
        "What is read and what is not: classes, files, values, copies, groups, examples of each class, the regime.",
        "example: trigan data check data=folder data.root=PATH",
    )
    parser.add_argument("overrides", nargs="*", help="settings as for `trigan run`: data=..., regime=..., trial=...")
    options = parser.parse_intermixed_args(arguments[1:])
    from trigan.config.compose import compose

    composed = compose(options.overrides, options.config_dir)
    from trigan.datasets.data_check import check_data, class_examples, suspicious_examples
    from trigan.datasets.sources.folder_scan import describe_unread
    from trigan.datasets.sources.image_source import mark_said
    from trigan.datasets.splits.draw_split import draw_split
    from trigan.datasets.splits.splitter import split_summary
    from trigan.plots.sample_grids import save_contact_sheet

    built = composed.build()
    report = check_data(built.data)
    print("\n".join(report.lines()))
    if report.level == "error":
        return 1
    mark_said(report.name, describe_unread(built.data.unread()), *(text for _, text in report.findings))
    dataset = composed.load_data()
    name = re.sub(r"[^\w.-]+", "-", dataset.name)
    sheet = composed.paths.outputs / "data_check" / f"{name}-{dataset.identity[:6]}.png"
    save_contact_sheet(class_examples(dataset), dataset.class_names, sheet)
    print(f"examples of each class: {sheet}")
    if report.suspicious is not None and report.suspicious.rows:
        doubtful = sheet.with_name(f"{sheet.stem}-labels.png")
        save_contact_sheet(*suspicious_examples(dataset, report.suspicious), doubtful)
        print(f"labels that look wrong: {doubtful}")
    info = draw_split(dataset, built.regime, composed.trial).info
    print(f"regime {composed.choices['regime']}, trial {composed.trial}: {split_summary(info)}")
    return 0
