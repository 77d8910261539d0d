#!/usr/bin/env bash
# python-calamine 0.9.1 (PyPI), Python 3.11: an error cell (#N/A), a formula without a saved result and the lower cells of
# a merged range all come back as '' from `to_python()` and `iter_rows()`, as a cell that was left empty does. A reader
# that takes '' for "nothing was entered" loses a value without a word. `merged_cell_ranges` names the merges; nothing
# names the other two. Expected by most readers: an error value, or None, that can be told from an empty cell.
# Output seen:
#   error cell: ''   formula without result: ''   below a merge: ''   empty cell: ''
# Exits 1 if they can be told apart one day.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install -q --disable-pip-version-check python-calamine==0.9.1 openpyxl==3.1.5
"$folder/venv/bin/python" - "$folder/book.xlsx" <<'PY'
import sys

import openpyxl
from python_calamine import CalamineWorkbook

book = openpyxl.Workbook()
sheet = book.active
sheet.append(["error", "formula", "merged", "empty", "text"])
sheet.append(["#N/A", "=1+1", "a family's address", None, "x"])
sheet.append(["ok", "ok", None, None, "y"])
sheet.merge_cells("C2:C3")
assert sheet["A2"].data_type == "e"
book.save(sys.argv[1])

rows = CalamineWorkbook.from_path(sys.argv[1]).get_sheet_by_index(0).to_python()
error, formula, _, empty, _ = rows[1]
merged = rows[2][2]
print(f"error cell: {error!r}   formula without result: {formula!r}   below a merge: {merged!r}   empty cell: {empty!r}")
sys.exit(0 if error == formula == merged == empty == "" else 1)
PY
