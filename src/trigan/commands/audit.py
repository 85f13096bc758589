"""``trigan audit STUDY``: what differs in C's training between the rows of a study; it runs nothing."""

from trigan.commands.study import study_parser
from trigan.studies.audit import audit_study, difference_line
from trigan.studies.job_cache import make_plan
from trigan.studies.study_file import find_study, read_study
from trigan.tables.classifier_differences import undeclared


def main(arguments: list[str]) -> int:
    """Print the differences, declared and not; 1 if some are not declared."""
    parser = study_parser(
        "audit",
        "List what differs in C's training between each row and the rows that it is compared with; nothing is run.",
        "Exit code 1: the study does not declare all of it.",
    )
    parser.add_argument("--undeclared", action="store_true", help="leave out what the study declares")
    options = parser.parse_intermixed_args(arguments)
    study = read_study(find_study(options.name), options.scale)
    plan = make_plan(study, options.overrides, options.config_dir)
    found = audit_study(study, plan, plan.jobs().done)
    count = 0
    for column, differences in found.items():
        missing = undeclared(differences)
        count += len(missing)
        print(f"{column}: {len(missing)} not declared, {len(differences) - len(missing)} declared by the study")
        for one in differences:
            if not (one.declared and options.undeclared):
                print(f"  {'declared    ' if one.declared else 'NOT DECLARED'}  {difference_line(one)}")
    return 1 if count else 0
