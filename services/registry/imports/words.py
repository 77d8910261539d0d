"""What is wrong with a file or one of its rows, in words that tell how to mend it."""

from collections.abc import Mapping
from typing import Any, NamedTuple, cast

from services.registry.imports.columns import COLUMNS, CellFault
from services.registry.imports.faults import FileCode, FileFault, RowCode
from services.registry.residents.words import WORDS as PERSON_WORDS
from shared.problems import Language, Problem, Text


class RowProblem(NamedTuple):
    """Why a row was not taken. `line` is that of another row of the file that it contradicts."""

    code: str
    column: str
    line: int | None = None


ROW_WORDS: Mapping[RowCode | CellFault, Text] = {
    "cell_too_long": Text(zh="内容过长", en="This is too long"),
    "control_character": Text(zh="含有控制字符，请重新录入", en="This holds control characters; type it anew"),
    "formula": Text(
        zh="像是公式（以 = + - @ 开头），请改为文字", en="This looks like a formula (= + - @ first); make it text"
    ),
    "number_lost_digits": Text(
        zh="电子表格丢失了末尾数字，请把此列设为文本后重新录入",
        en="A spreadsheet lost its last digits; format the column as text and type it anew",
    ),
    "row_length": Text(
        zh="列数与表头不符，请检查逗号和引号", en="It has not as many cells as the heading; look at commas and quotes"
    ),
    "flag_form": Text(zh="应为“是”或“否”", en="This must be 是 or 否 (1 or 0, true or false)"),
    "date_form": Text(zh="应为日期，如 1990-01-31", en="This must be a date such as 1990-01-31"),
    "sex_form": Text(zh="应为“男”或“女”", en="This must be 男 or 女 (1 or 2, male or female)"),
}
WORDS: Mapping[str, Text] = {
    **cast("Mapping[str, Text]", PERSON_WORDS),
    **cast("Mapping[str, Text]", ROW_WORDS),
    "same_person_twice": Text(
        zh="与第 {line} 行是同一人，只保留该行",
        en="This is the same person as in line {line}, which alone was looked at",
    ),
    "resident_closed": Text(
        zh="该人员的记录已关闭，请核对后先恢复", en="The person's record is closed; check, and reopen it first"
    ),
}


def say(problems: list[RowProblem], language: Language) -> str:
    """All that is wrong with a row, each with the column it is about."""
    zh = language == "zh-CN"
    sentences = []
    for one in problems:
        text = WORDS[one.code].say(language, {"line": one.line})
        column = _heading(one.column, language) if one.column else ""
        sentences.append(f"{column}{'：' if zh else ': '}{text}" if column else text)
    return "；".join(sentences) if zh else "; ".join(sentences)


def _heading(column: str, language: Language) -> str:
    """A column as people find it in their file; in English by both its names, for the file may have either."""
    chinese = COLUMNS[column][0]
    return chinese if language == "zh-CN" else f"{column} ({chinese})"


def _file(
    code: FileCode, title: Text, fix: Text, what: Text | None = None, status: int = 422
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


_SAVE_AS = Text(zh="请另存为 CSV（UTF-8）或 XLSX 后重新上传", en="Save it as CSV (UTF-8) or XLSX and send that")
_TEMPLATE = Text(zh="模板在 GET /registry/v1/imports/template", en="GET /registry/v1/imports/template has the template")
_SHORTEN = Text(zh="请分成几个文件上传", en="Split it into several files")

FILE_PROBLEMS: Mapping[FileCode, type[Problem]] = dict(
    [
        _file(
            "archive_bomb",
            Text(zh="压缩包展开后过大", en="The archive unfolds into far more than it should"),
            _SAVE_AS,
        ),
        _file(
            "column_missing",
            Text(zh="缺少必需的列", en="A column is missing"),
            Text(zh=f"请在表头中补上这些列，{_TEMPLATE.zh}", en=f"Add the columns to the heading; {_TEMPLATE.en}"),
            Text(zh="缺少列：{columns}", en="Columns are missing: {columns}"),
        ),
        _file(
            "column_twice",
            Text(zh="有重复的列", en="A column is there twice"),
            Text(zh="请只保留一列", en="Keep one of each"),
            Text(zh="重复的列：{columns}", en="Columns are there twice: {columns}"),
        ),
        _file(
            "column_unknown",
            Text(zh="有不认识的列", en="A column is unknown"),
            Text(
                zh=f"请改正表头，或删去多余的列，{_TEMPLATE.zh}",
                en=f"Correct the heading, or remove the column; {_TEMPLATE.en}",
            ),
            Text(zh="表头中不认识的列：第 {places} 列", en="Not known in the heading: column {places}"),
        ),
        _file(
            "control_character",
            Text(zh="文件含有文本中不应有的控制字符", en="The file holds control characters that no text has"),
            _SAVE_AS,
            Text(
                zh="第 {line} 行含有文本中不应有的控制字符", en="Line {line} holds control characters that no text has"
            ),
        ),
        _file("empty", Text(zh="文件是空的", en="The file is empty"), Text(zh="请检查文件", en="Look at the file")),
        _file(
            "encrypted",
            Text(zh="文件有密码保护", en="The file is protected by a password"),
            Text(zh="请去掉密码后重新上传", en="Remove the password and send it again"),
        ),
        _file(
            "line_too_long",
            Text(zh="有一行过长", en="A line is too long"),
            Text(zh="请检查换行和引号", en="Look at the ends of lines and at quotes"),
            Text(zh="第 {line} 行过长", en="Line {line} is too long"),
        ),
        _file("not_a_table", Text(zh="文件不是表格", en="The file is no table"), _SAVE_AS),
        _file("old_format", Text(zh="旧版 Excel 格式不受支持", en="Old Excel formats are not read"), _SAVE_AS),
        _file(
            "quote_wrong",
            Text(zh="引号不成对", en="Quotes do not match"),
            Text(zh="请检查该行的引号", en="Look at the quotes of that line"),
            Text(zh="第 {line} 行起引号不成对", en="From line {line} on quotes do not match"),
        ),
        _file(
            "separator_wrong",
            Text(zh="列之间不是逗号", en="Cells are not separated by commas"),
            Text(
                zh=f"请用半角逗号分隔各列，或另存为 XLSX，{_TEMPLATE.zh}",
                en=f"Let cells be separated by commas, or save it as XLSX; {_TEMPLATE.en}",
            ),
        ),
        _file("too_large", Text(zh="文件过大", en="The file is too large"), _SHORTEN, status=413),
        _file("too_many_columns", Text(zh="列数过多", en="There are too many columns"), _SAVE_AS),
        _file(
            "too_many_rows",
            Text(zh="行数过多", en="There are too many rows"),
            _SHORTEN,
            Text(zh="行数超过 {limit}", en="There are more than {limit} rows"),
        ),
        _file("wrong_encoding", Text(zh="文件编码无法识别", en="The file's encoding is not known"), _SAVE_AS),
    ]
)
"""Each fault of a file as a problem. What a file calls its columns is not repeated: it may be a person's data."""


def problem_of(fault: FileFault) -> Problem:
    """A fault of a file as a problem, with the values its words speak of."""
    kind = FILE_PROBLEMS[fault.code]
    values: dict[str, Any] = {name: _spoken(fault.values.get(name, "…")) for name in kind.names()}
    return kind(**values)


def _spoken(value: object) -> object:
    if not isinstance(value, list):
        return value
    return Text(
        zh="、".join(_heading(column, "zh-CN") for column in value if column in COLUMNS),
        en=", ".join(_heading(column, "en") for column in value if column in COLUMNS),
    )
