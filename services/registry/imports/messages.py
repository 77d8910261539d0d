"""Messages about faults of a file and of its rows, with what to do."""

from collections.abc import Iterable, Mapping
from typing import Any, NamedTuple, cast

from services.registry.imports.columns import COLUMNS, CellFault
from services.registry.imports.faults import FileCode, FileFault, RowCode
from services.registry.residents.messages import MESSAGES as PERSON_MESSAGES
from shared.problems import Language, LocalizedText, Problem


class RowProblem(NamedTuple):
    """A problem of a failed row."""

    code: str
    column: str
    """One column, several separated by commas, or "" for the row as a whole."""
    line: int | None = None
    """The line of another row of the file that conflicts with it."""
    value: str = ""
    """A value for the message: a cell, a day or codes of regions. Never data of a person."""


ROW_MESSAGES: Mapping[RowCode | CellFault, LocalizedText] = {
    "cell_too_long": LocalizedText(zh="内容过长", en="The text is too long"),
    "column_narrow": LocalizedText(
        zh="{value} 单元格只显示 ####（保存时列宽不足），请加宽该列后重新保存",
        en="Cell {value} has only ####, because its column was too narrow when the file was saved. Widen the column "
        "and save again",
    ),
    "control_character": LocalizedText(
        zh="含有控制字符，请重新录入", en="The cell contains control characters. Type it again"
    ),
    "error_cell": LocalizedText(
        zh="{value} 单元格是错误值（如 #N/A），请改正公式或直接填写",
        en="Cell {value} has an error such as #N/A. Correct the formula or type the value",
    ),
    "formula": LocalizedText(
        zh="内容疑似公式（以 = + - @ 开头），请改为文字",
        en="This looks like a formula, because it starts with = + - or @. Change it to text",
    ),
    "formula_not_calculated": LocalizedText(
        zh="{value} 单元格的公式没有计算结果，请用 Excel 或 WPS 打开并保存后重新上传，或直接填写",
        en="The formula in cell {value} has no result. Open and save the file in Excel or WPS, or type the value",
    ),
    "heading_empty": LocalizedText(
        zh="{value} 单元格有内容，但该列没有表头，请补上表头或删除该列",
        en="Cell {value} is filled in, but its column has no heading. Add the heading or remove the column",
    ),
    "made_a_date": LocalizedText(
        zh="{value} 单元格被表格软件变成了日期（如 12-1 变成 12月1日），请先把该列设为“文本”格式，再重新录入",
        en="A spreadsheet changed cell {value} to a date (12-1 became 1 December). Format the column as text and type "
        "it again",
    ),
    "merged_cells": LocalizedText(
        zh="{value} 是合并单元格，无法确定内容属于哪一行，请取消合并后逐行填写",
        en="{value} is a merged cell, so it is not clear to which row it belongs. Unmerge it and fill in each row",
    ),
    "number_lost_digits": LocalizedText(
        zh="{value} 单元格的号码末几位已被 Excel 变成 0 或 E+ 形式，请先把该列设为“文本”格式，再重新录入；"
        "文件中其他号码前面的 0 也可能已丢失，请一并核对",
        en="Excel replaced the last digits of cell {value} by zeros or E+. Format the column as text and type it "
        "again. Other numbers of the file may have lost leading zeros; check them",
    ),
    "row_length": LocalizedText(
        zh="列数与表头不符，请检查逗号和引号",
        en="The row has more or fewer cells than the heading. Check commas and quotes",
    ),
    "flag_form": LocalizedText(zh="应为“是”或“否”", en="This must be 是 or 否 (1 or 0, true or false)"),
    "date_form": LocalizedText(zh="应为日期，如 1990-01-31", en="This must be a date such as 1990-01-31"),
    "sex_form": LocalizedText(zh="应为“男”或“女”", en="This must be 男 or 女 (1 or 2, male or female)"),
}
MESSAGES: Mapping[str, LocalizedText] = {
    **cast("Mapping[str, LocalizedText]", PERSON_MESSAGES),
    **cast("Mapping[str, LocalizedText]", ROW_MESSAGES),
    # The start is recognised when the error file is sent again: `reading.DUPLICATE_MARKS`.
    "same_person_twice": LocalizedText(
        zh="重复行：与第 {line} 行是同一人，只保留该行；如果不是同一人，请改正证件号码并清空“错误”列",
        en="Duplicate row: the same person as in line {line}. Only that line is used. If it is another person, correct "
        "the number and clear the column 错误",
    ),
    "resident_closed": LocalizedText(
        zh="该人员档案已注销，请核对并先恢复档案", en="The person's record is closed. Check it and reopen it first"
    ),
    "region_missing": LocalizedText(
        zh="必填，请填写网格、片区或社区代码，如 {value}",
        en="Required: the code of a grid, a patch or a community, such as {value}",
    ),
    "home_unknown": LocalizedText(
        zh="本辖区内没有该社区、片区或网格，请填写代码，如 {value}",
        en="Community, patch or grid not found in your region. Enter a code such as {value}",
    ),
    "region_ambiguous": LocalizedText(
        zh="辖区内有多个同名区划，请改填代码：{value}",
        en="Several regions in your area have this name. Enter the code: {value}",
    ),
    "name_brackets": LocalizedText(
        zh="请去掉姓名中的括号及其内容，如“（户主）”", en="Remove the brackets, such as （户主）, from the name"
    ),
    "name_differs": LocalizedText(
        zh="与系统中该证件号码的姓名不一致，请核对；确需改名的，请单独修改该人员，或导入时选择允许改名（rename=true）",
        en="The record with this number has another name. Check it. If the person has a new name, change that record, "
        "or import with rename=true",
    ),
    "changed_by_hand": LocalizedText(
        zh="该内容已于 {value} 人工更新，与文件不同，未作改动；如文件较新，导入时请填写文件日期（as_of）"
        "或选择以文件为准（overwrite_newer=true）",
        en="The record was changed by hand on {value} and differs from the file. Nothing was changed. If the file is "
        "newer, import with its date (as_of) or with overwrite_newer=true",
    ),
    "newer_known": LocalizedText(
        zh="系统中的内容更新于 {value}，晚于文件日期，未作改动；如仍以文件为准，导入时请选择 overwrite_newer=true",
        en="The record was updated on {value}, after the date of the file. Nothing was changed. To use the file "
        "anyway, import with overwrite_newer=true",
    ),
}


def describe(problems: list[RowProblem], language: Language) -> str:
    """Return all problems of a row in one text, each with its columns."""
    zh = language == "zh-CN"
    sentences = []
    for one in problems:
        text = MESSAGES[one.code].render(language, {"line": one.line, "value": one.value or "…"})
        column = _headings(one.column.split(","), language) if one.column else ""
        sentences.append(f"{column}{'：' if zh else ': '}{text}" if column else text)
    return "；".join(sentences) if zh else "; ".join(sentences)


def is_duplicate(problems: list[RowProblem]) -> bool:
    """Return whether a row failed because an earlier row has the same person."""
    return any(one.code == "same_person_twice" for one in problems)


def _headings(columns: Iterable[str], language: Language) -> str:
    return ("、" if language == "zh-CN" else ", ").join(heading(column, language) for column in columns)


def heading(column: str, language: Language) -> str:
    """Return the heading of a column. The English form has both names, because the file may have either."""
    chinese = COLUMNS[column][0]
    return chinese if language == "zh-CN" else f"{column} ({chinese})"


def _file(
    code: FileCode, title: LocalizedText, fix: LocalizedText, what: LocalizedText | None = None, status: int = 422
) -> tuple[FileCode, type[Problem]]:
    name = "File" + "".join(word.title() for word in code.split("_"))
    members = {
        "__doc__": title.en + ".",
        "__module__": __name__,
        "status": status,
        "code": f"file_{code}",
        "title": title,
        "fix": fix,
        "what": what,
    }
    return code, type(name, (Problem,), members)


_SAVE_AS = LocalizedText(
    zh="请另存为 CSV（UTF-8）或 XLSX 后重新上传", en="Save it as CSV (UTF-8) or XLSX and upload it again"
)
_TEMPLATE = LocalizedText(
    zh="模板见 GET /registry/v1/imports/template", en="The template is at GET /registry/v1/imports/template"
)
_SHORTEN = LocalizedText(zh="请拆分为多个文件上传", en="Split it into several files")

FILE_PROBLEMS: Mapping[FileCode, type[Problem]] = dict(
    [
        _file(
            "archive_bomb",
            LocalizedText(zh="压缩包展开后过大", en="The file is too large when decompressed"),
            _SAVE_AS,
        ),
        _file(
            "column_missing",
            LocalizedText(zh="缺少必需的列", en="A required column is missing"),
            LocalizedText(
                zh=f"请在表头中补上这些列，{_TEMPLATE.zh}", en=f"Add the columns to the heading. {_TEMPLATE.en}"
            ),
            LocalizedText(
                zh="第 {line} 行表头中未找到：{columns}{unknown}",
                en="Missing in the heading in line {line}: {columns}{unknown}",
            ),
        ),
        _file(
            "column_twice",
            LocalizedText(zh="有重复的列", en="A column appears twice"),
            LocalizedText(zh="请只保留一列", en="Keep only one of them"),
            LocalizedText(
                zh="这些列重复：{twice}，都是{columns}", en="These columns have the same meaning, {columns}: {twice}"
            ),
        ),
        _file(
            "column_unknown",
            LocalizedText(zh="有无法识别的列", en="A column is unknown"),
            LocalizedText(
                zh=f"请改正表头，或删除多余的列，{_TEMPLATE.zh}",
                en=f"Correct the heading or remove the column. {_TEMPLATE.en}",
            ),
            LocalizedText(zh="无法识别这些列：{unknown}", en="Unknown columns: {unknown}"),
        ),
        _file(
            "control_character",
            LocalizedText(zh="文件含有控制字符", en="The file contains control characters"),
            _SAVE_AS,
            LocalizedText(zh="第 {line} 行含有控制字符", en="Line {line} contains control characters"),
        ),
        _file(
            "empty",
            LocalizedText(zh="文件为空", en="The file is empty"),
            LocalizedText(zh="请检查文件", en="Check the file"),
        ),
        _file(
            "encrypted",
            LocalizedText(zh="文件有密码保护", en="The file is protected by a password"),
            LocalizedText(zh="请取消密码后重新上传", en="Remove the password and upload it again"),
        ),
        _file(
            "heading_missing",
            LocalizedText(zh="未找到表头", en="Heading not found"),
            LocalizedText(
                zh=f"请在第一行填写表头，{_TEMPLATE.zh}", en=f"Put the heading into the first row. {_TEMPLATE.en}"
            ),
            LocalizedText(
                zh="前 {rows} 行中没有表头，表头应包含：{columns}",
                en="None of the first {rows} rows is a heading. A heading must have: {columns}",
            ),
        ),
        _file(
            "line_too_long",
            LocalizedText(zh="有一行过长", en="A line is too long"),
            LocalizedText(zh="请检查换行和引号", en="Check line ends and quotes"),
            LocalizedText(zh="第 {line} 行过长", en="Line {line} is too long"),
        ),
        _file("not_a_table", LocalizedText(zh="文件不是表格", en="The file is not a table"), _SAVE_AS),
        _file(
            "old_format",
            LocalizedText(zh="文件格式不受支持", en="The format of the file is not supported"),
            _SAVE_AS,
            LocalizedText(zh="不支持 {format} 格式的文件", en="Files of the format {format} are not supported"),
        ),
        _file(
            "quote_wrong",
            LocalizedText(zh="引号不成对", en="Quotes do not match"),
            LocalizedText(zh="请检查该行的引号", en="Check the quotes in that line"),
            LocalizedText(zh="从第 {line} 行起引号不成对", en="Quotes do not match from line {line} on"),
        ),
        _file(
            "separator_wrong",
            LocalizedText(zh="各列之间未用逗号分隔", en="Cells are not separated by commas"),
            LocalizedText(
                zh=f"请用半角逗号分隔各列，或另存为 XLSX，{_TEMPLATE.zh}",
                en=f"Separate the cells by commas, or save the file as XLSX. {_TEMPLATE.en}",
            ),
        ),
        _file(
            "several_sheets",
            LocalizedText(zh="多张工作表含有人员名单", en="Several sheets contain people"),
            LocalizedText(
                zh="请合并到一张工作表，或分别上传", en="Put them into one sheet, or upload each as a separate file"
            ),
            LocalizedText(zh="这些工作表都含有人员：{sheets}", en="These sheets contain people: {sheets}"),
        ),
        _file("too_large", LocalizedText(zh="文件过大", en="The file is too large"), _SHORTEN, status=413),
        _file("too_many_columns", LocalizedText(zh="列数过多", en="There are too many columns"), _SAVE_AS),
        _file(
            "too_many_errors",
            LocalizedText(zh="错误或未计算的单元格过多", en="Too many cells have errors or are not calculated"),
            LocalizedText(
                zh="请用 Excel 或 WPS 打开，改正公式并保存后重新上传",
                en="Open it in Excel or WPS, correct the formulas, save and upload it again",
            ),
        ),
        _file(
            "too_many_rows",
            LocalizedText(zh="行数过多", en="There are too many rows"),
            _SHORTEN,
            LocalizedText(zh="行数超过 {limit}", en="There are more than {limit} rows"),
        ),
        _file(
            "wrong_encoding", LocalizedText(zh="文件编码无法识别", en="The encoding of the file is unknown"), _SAVE_AS
        ),
    ]
)
"""The problem for each fault of a file. Only the response quotes unknown headings, and never numbers in them."""


def problem_of(fault: FileFault) -> Problem:
    """Return the problem of a file's fault, with the values for its message."""
    kind = FILE_PROBLEMS[fault.code]
    values: dict[str, Any] = {name: fault.values.get(name, "…") for name in kind.names()}
    if "columns" in values:
        columns = cast("list[str]", values["columns"])
        values["columns"] = LocalizedText(zh=_headings(columns, "zh-CN"), en=_headings(columns, "en"))
    for name in {"unknown", "twice"} & values.keys():
        values[name] = _columns(cast("list[str]", values[name]))
    if fault.code == "column_missing":
        unknown = cast("LocalizedText", values["unknown"])
        values["unknown"] = (
            LocalizedText(zh=f"；无法识别：{unknown.zh}", en=f"; unknown: {unknown.en}")
            if fault.values["unknown"]
            else ""
        )
    if "sheets" in values:
        values["sheets"] = "、".join(cast("list[str]", values["sheets"]))
    return kind(**values)


def _columns(places: list[str]) -> LocalizedText:
    """Return columns by letter and heading: A 列“序号”."""
    escaped = (place.replace("{", "{{").replace("}", "}}") for place in places)
    named = [place.partition(" ")[::2] for place in escaped]
    return LocalizedText(
        zh="、".join(f"{letter} 列" + (f"“{heading}”" if heading else "") for letter, heading in named),
        en=", ".join(letter + (f" “{heading}”" if heading else "") for letter, heading in named),
    )
