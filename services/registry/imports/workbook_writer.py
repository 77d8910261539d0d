"""Writes an XLSX workbook in pieces, with all columns as text. It implements only the needed part of ECMA-376.

A spreadsheet that opens a CSV reads ID numbers as numbers and loses their last digits. In these sheets every column has
the format `@`, so that input stays exactly as typed.
"""

import zipfile
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from xml.sax.saxutils import escape, quoteattr

MEDIA_TYPE = "application/vnd.openxmlformats-officedocument.spreadsheetml.sheet"
LAST_ROW = 1_048_576
_MAIN = "http://schemas.openxmlformats.org/spreadsheetml/2006/main"
_RELATION = "http://schemas.openxmlformats.org/officeDocument/2006/relationships"
_PACKAGE = "http://schemas.openxmlformats.org/package/2006"
_HEAD = '<?xml version="1.0" encoding="UTF-8" standalone="yes"?>\n'
_TYPE = "application/vnd.openxmlformats-officedocument.spreadsheetml"

TEXT, HEADING = 1, 2
"""Cell formats, by index in `_STYLES`: text and heading."""
_STYLES = (
    f'{_HEAD}<styleSheet xmlns="{_MAIN}"><fonts count="2"><font><sz val="11"/><name val="等线"/></font>'
    '<font><b/><sz val="11"/><name val="等线"/></font></fonts><fills count="3"><fill><patternFill patternType="none"/>'
    '</fill><fill><patternFill patternType="gray125"/></fill><fill><patternFill patternType="solid">'
    '<fgColor rgb="FFDDEBF7"/></patternFill></fill></fills><borders count="1"><border/></borders>'
    '<cellStyleXfs count="1"><xf/></cellStyleXfs><cellXfs count="3"><xf/>'
    '<xf numFmtId="49" applyNumberFormat="1" applyAlignment="1"><alignment vertical="top" wrapText="1"/></xf>'
    '<xf numFmtId="49" fontId="1" fillId="2" applyNumberFormat="1" applyFont="1" applyFill="1"/></cellXfs>'
    '<cellStyles count="1"><cellStyle name="Normal" xfId="0" builtinId="0"/></cellStyles></styleSheet>'
)


@dataclass(frozen=True)
class Column:
    """A column of a sheet: its heading, the hint shown when a cell is selected, and the choices."""

    heading: str
    hint: str = ""
    choices: Sequence[str] = ()
    width: int = 18


class _Pieces:
    """A write-only file whose content is taken in pieces. `zipfile` can write to it without seeking."""

    def __init__(self) -> None:
        self._written: list[bytes] = []

    def write(self, data: bytes) -> int:
        self._written.append(bytes(data))
        return len(data)

    def flush(self) -> None:
        """Do nothing, because nothing is buffered."""

    def take(self) -> bytes:
        taken = b"".join(self._written)
        self._written.clear()
        return taken


class BookWriter:
    """Writes a workbook sheet by sheet. `take` returns the bytes that can be sent already."""

    def __init__(self, names: Sequence[str]) -> None:
        self._pieces = _Pieces()
        self._archive = zipfile.ZipFile(self._pieces, "w", zipfile.ZIP_DEFLATED)  # type: ignore[call-overload]
        self._sheet = self._row = 0
        self._columns: Sequence[Column] = ()
        self._write_frame(names)

    def begin_sheet(self, columns: Sequence[Column]) -> None:
        """Begin the next sheet, with its headings."""
        self._sheet += 1
        self._columns, self._row = columns, 0
        self._part = self._archive.open(f"xl/worksheets/sheet{self._sheet}.xml", "w")
        widths = "".join(
            f'<col min="{place}" max="{place}" width="{column.width}" style="{TEXT}" customWidth="1"/>'
            for place, column in enumerate(columns, start=1)
        )
        self._part.write(
            f'{_HEAD}<worksheet xmlns="{_MAIN}"><sheetViews><sheetView workbookViewId="0">'
            '<pane ySplit="1" topLeftCell="A2" activePane="bottomLeft" state="frozen"/></sheetView></sheetViews>'
            f"<cols>{widths}</cols><sheetData>".encode()
        )
        self._write_row([column.heading for column in columns], HEADING)

    def write_rows(self, rows: Iterable[Sequence[str]]) -> None:
        """Add rows to the sheet."""
        for row in rows:
            self._write_row(row, TEXT)

    def end_sheet(self) -> None:
        """End the sheet, with the hints and the choices of its columns."""
        rules = "".join(_rules(place, column) for place, column in enumerate(self._columns))
        count = rules.count("<dataValidation ")
        validations = f'<dataValidations count="{count}">{rules}</dataValidations>' if count else ""
        self._part.write(f"</sheetData>{validations}</worksheet>".encode())
        self._part.close()

    def take(self) -> bytes:
        """Return the bytes written since the last call."""
        return self._pieces.take()

    def close(self) -> bytes:
        """Finish the file and return its last bytes."""
        self._archive.close()
        return self.take()

    def _write_row(self, cells: Sequence[str], style: int) -> None:
        self._row += 1
        written = "".join(
            f'<c r="{_letter(place)}{self._row}" s="{style}" t="inlineStr"><is><t xml:space="preserve">'
            f"{_text(cell)}</t></is></c>"
            for place, cell in enumerate(cells)
            if cell
        )
        self._part.write(f'<row r="{self._row}">{written}</row>'.encode())

    def _write_frame(self, names: Sequence[str]) -> None:
        numbers = range(1, len(names) + 1)
        sheets = "".join(
            f'<sheet name={quoteattr(name)} sheetId="{number}" r:id="rId{number}"/>'
            for number, name in zip(numbers, names, strict=True)
        )
        types = "".join(
            f'<Override PartName="/xl/worksheets/sheet{number}.xml" ContentType="{_TYPE}.worksheet+xml"/>'
            for number in numbers
        )
        relations = "".join(
            _relation(f"rId{number}", "worksheet", f"worksheets/sheet{number}.xml") for number in numbers
        )
        relations += _relation("rId0", "styles", "styles.xml")
        parts = {
            "[Content_Types].xml": f'<Types xmlns="{_PACKAGE}/content-types"><Default Extension="rels" '
            'ContentType="application/vnd.openxmlformats-package.relationships+xml"/>'
            f'<Override PartName="/xl/workbook.xml" ContentType="{_TYPE}.sheet.main+xml"/>'
            f'<Override PartName="/xl/styles.xml" ContentType="{_TYPE}.styles+xml"/>{types}</Types>',
            "_rels/.rels": f'<Relationships xmlns="{_PACKAGE}/relationships">'
            + _relation("rId1", "officeDocument", "xl/workbook.xml")
            + "</Relationships>",
            "xl/workbook.xml": f'<workbook xmlns="{_MAIN}" xmlns:r="{_RELATION}"><sheets>{sheets}</sheets></workbook>',
            "xl/_rels/workbook.xml.rels": f'<Relationships xmlns="{_PACKAGE}/relationships">{relations}'
            "</Relationships>",
        }
        for path, content in parts.items():
            self._archive.writestr(path, _HEAD + content)
        self._archive.writestr("xl/styles.xml", _STYLES)


def _relation(id_: str, kind: str, target: str) -> str:
    return f'<Relationship Id="{id_}" Type="{_RELATION}/{kind}" Target="{target}"/>'


def _rules(place: int, column: Column) -> str:
    """Return the data validations of a column: the hint at the heading, and hint and choices in the cells below."""
    prompt = f' showInputMessage="1" promptTitle={_attribute(column.heading, 32)} prompt={_attribute(column.hint, 255)}'
    hint = prompt if column.hint else ""
    letter = _letter(place)
    cells = f"{letter}2:{letter}{LAST_ROW}"
    rules = f'<dataValidation allowBlank="1"{hint} sqref="{letter}1"/>' if hint else ""
    if column.choices:
        choices = escape(",".join(column.choices))
        rules += (
            f'<dataValidation type="list" allowBlank="1" showErrorMessage="1"{hint} sqref="{cells}">'
            f'<formula1>"{choices}"</formula1></dataValidation>'
        )
    elif hint:
        rules += f'<dataValidation allowBlank="1"{hint} sqref="{cells}"/>'
    return rules


def _attribute(text: str, characters: int) -> str:
    return quoteattr(text[:characters])


def _letter(place: int) -> str:
    return chr(65 + place)


def _text(cell: str) -> str:
    """Escape a text for XML. Characters that XML cannot hold are written as _x0000_."""
    if not cell.isprintable() or "_x" in cell:
        cell = cell.replace("_x", "_x005F_x")
        cell = "".join(f"_x{ord(one):04X}_" if _is_barred(one) else one for one in cell)
    return escape(cell)


def _is_barred(character: str) -> bool:
    return (
        (character < " " and character not in "\t\n")
        or character in "\x7f\ufffe\uffff"
        or "\ud800" <= character <= "\udfff"
    )
