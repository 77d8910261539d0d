"""Uploaded files to test: one that is right, and what became of one that is read."""

import io

import pytest

from services.registry.imports.columns import COLUMNS
from services.registry.imports.faults import FILE_CODES, FileFault
from services.registry.imports.reading import RawRow, read_rows

HEADER = "姓名,证件号码,手机号,网格编码,住址"
PLAIN_HEADER = "name,document_number,region\n"
ROW = "张三,11010519491231002X,13800005678,3505820050010101,沙塘社区1号"
VALUES = {
    "name": "张三",
    "document_number": "11010519491231002X",
    "phone": "13800005678",
    "region": "3505820050010101",
    "address": "沙塘社区1号",
}


def read(content: str | bytes, encoding: str = "utf-8") -> list[RawRow]:
    return list(read_rows(io.BytesIO(content.encode(encoding) if isinstance(content, str) else content)))


def fault_of(content: str | bytes, encoding: str = "utf-8") -> FileFault:
    with pytest.raises(FileFault) as caught:
        read(content, encoding)
    assert caught.value.code in FILE_CODES
    return caught.value


def answer_to(content: bytes) -> str:
    """The code of the fault, or that all could be read."""
    try:
        rows = read(content)
    except FileFault as fault:
        return fault.code
    assert all(row.values.keys() == COLUMNS.keys() and row.line >= 1 for row in rows)
    return "read"


def faults_of(row: RawRow) -> list[tuple[str, str]]:
    """What is wrong with a row and in which column, without the cell's name."""
    return [(fault.code, fault.column) for fault in row.faults]


def given_values(row: RawRow) -> dict[str, str]:
    return {column: cell for column, cell in row.values.items() if cell}
