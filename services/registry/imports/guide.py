"""Instructions for the template in both languages: hints for its columns, and the sheet 说明."""

from collections.abc import Iterable, Mapping

from shared.problems import Language, LocalizedText

GUIDE: Mapping[Language, str] = {"zh-CN": "说明", "en": "Instructions"}

HINTS: Mapping[str, LocalizedText] = {
    "name": LocalizedText(zh="须与证件一致，不要加括号说明", en="As on the document, without remarks in brackets"),
    "document_type": LocalizedText(
        zh="身份证可不填；14 港澳居民来往内地通行证，15 台湾居民来往大陆通行证，20 护照，34 外国人永久居留身份证，"
        "99 其他",
        en="Empty for a resident ID. 14 HK/Macao permit, 15 Taiwan permit, 20 passport, 34 foreign resident's ID, "
        "99 other",
    ),
    "document_number": LocalizedText(
        zh="身份证号码 18 位，末位可为 X", en="A resident ID has 18 characters. The last may be X"
    ),
    "phone": LocalizedText(zh="只填写一个号码，没有可不填", en="Only one number. Leave it empty if there is none"),
    "region": LocalizedText(
        zh="填写网格、片区或社区代码，如 350582005001；辖区内名称不重复的，也可填写名称，如 沙塘社区",
        en="The code of a grid, a patch or a community, such as 350582005001, or its name if the name is unique",
    ),
    "address": LocalizedText(
        zh="居住地址；合并单元格按各行相同处理", en="Where the person lives. A merged cell applies to all its rows"
    ),
    "household": LocalizedText(
        zh="同一社区内户号相同的为一户；没有可不填", en="People of one community with the same key form one household"
    ),
    "pregnant": LocalizedText(zh="是或否；不填表示不改动", en="是 or 否; empty changes nothing"),
    "dependent": LocalizedText(
        zh="半自理、无自理填是，能自理填否；不填表示不改动",
        en="是 if the person needs care, otherwise 否; empty changes nothing",
    ),
    "birth_date": LocalizedText(
        zh="证件不是身份证时必填，如 1990-01-31", en="Required unless the document is a resident ID"
    ),
    "sex": LocalizedText(
        zh="证件不是身份证时必填：男或女", en="Required unless the document is a resident ID: 男 or 女"
    ),
}

_ALL_COLUMNS = (
    LocalizedText(
        zh="各列均为文本格式。从别处复制时请用“选择性粘贴—数值”，否则号码末几位可能丢失。",
        en="All columns have the text format. Paste values only. Otherwise numbers may lose their last digits.",
    ),
    LocalizedText(
        zh="空单元格不改动系统中已有的内容；“无”“/”“-”“不详”等同于空。",
        en="An empty cell changes nothing on record. 无, / and - count as empty.",
    ),
    LocalizedText(
        zh="错误文件改正后可直接再次上传；“重复行”工作表和错误列以“重复行”开头的行不会导入。",
        en="Correct an error file and upload it again. Rows marked as duplicates are not imported.",
    ),
)


def guide_rows(language: Language, columns: Iterable[tuple[str, bool]]) -> list[list[str]]:
    """Return the rows of the sheet 说明: one for each column by its heading, then the general notes."""
    required = "是" if language == "zh-CN" else "yes"
    rows = [
        [heading, hint.render(language), required if is_required else ""]
        for (heading, is_required), hint in zip(columns, HINTS.values(), strict=True)
    ]
    return rows + [["", text.render(language), ""] for text in _ALL_COLUMNS]
