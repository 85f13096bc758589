"""All records of a folder of outputs as one pandas table: a row a run, a column a setting or score.

python examples/read_records.py [OUTPUTS]
"""

import sys
from pathlib import Path

import pandas as pd

from trigan.records.record import find_records

if __name__ == "__main__":
    outputs = Path(sys.argv[1] if len(sys.argv) > 1 else "outputs")
    records, debug_runs = find_records(outputs)
    if not records:
        sys.exit(f"no finished run under {outputs / 'runs'} ({debug_runs} debug runs)")
    frame = pd.json_normalize([dict(record) for record in records])
    columns = {
        "tags.strategy": "strategy",
        "tags.data": "data",
        "tags.trial": "trial",
        "result.test.accuracy": "accuracy",
        "result.cost.flops": "flops",
    }
    short = frame[list(columns)].rename(columns=columns)
    print(short.groupby(["data", "strategy"]).agg({"accuracy": ["mean", "std", "count"], "flops": "mean"}))
