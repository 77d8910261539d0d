"""Messages about faults in a person's data, with what to do."""

from collections.abc import Mapping, Sequence

from services.registry.residents.identity import Reason
from services.registry.residents.rules import (
    ADDRESS_CHARACTERS,
    HOUSEHOLD_CHARACTERS,
    NAME_CHARACTERS,
    PersonCode,
    Wrong,
)
from shared.problems import Fault, InvalidInput, LocalizedText, pointer

MESSAGES: Mapping[Reason | PersonCode, LocalizedText] = {
    "document_type_unknown": LocalizedText(
        zh="证件类型应为 10、14、15、20、34 或 99", en="The document type must be 10, 14, 15, 20, 34 or 99"
    ),
    "document_number_form": LocalizedText(
        zh="号码格式与证件类型不符，请核对证件",
        en="The number does not fit the document type. Compare it with the document",
    ),
    "id_characters": LocalizedText(
        zh="身份证号码只能含数字，末位可为 X", en="A resident ID has only digits. The last character may be X"
    ),
    "id_length": LocalizedText(zh="身份证号码应为 18 位", en="A resident ID has 18 characters"),
    "id_of_fifteen": LocalizedText(
        zh="这是 15 位旧号码，请填写 18 位身份证号码",
        en="This is an old number with 15 digits. Enter the resident ID with 18 characters",
    ),
    "id_check_digit": LocalizedText(
        zh="身份证号码校验码有误，请核对证件",
        en="The check digit of the ID number is wrong. Compare it with the document",
    ),
    "id_province": LocalizedText(
        zh="身份证号码前两位不是有效的省份代码", en="The first two digits of the ID number are not a province code"
    ),
    "id_demonstration": LocalizedText(
        zh="这是演示用号码，本系统不接受", en="This is a demonstration number. This system does not accept it"
    ),
    "id_birth_date": LocalizedText(
        zh="身份证号码中的出生日期不存在", en="The birth date in the ID number does not exist"
    ),
    "id_birth_date_in_future": LocalizedText(
        zh="身份证号码中的出生日期晚于今天", en="The birth date in the ID number is in the future"
    ),
    "id_birth_date_too_old": LocalizedText(
        zh="身份证号码中的出生日期过早", en="The birth date in the ID number is too long ago"
    ),
    "phone_form": LocalizedText(
        zh="电话号码不完整或格式有误", en="The phone number is incomplete or has the wrong format"
    ),
    "phone_several": LocalizedText(zh="每格只能填写一个号码", en="Enter only one phone number"),
    "name_missing": LocalizedText(zh="姓名必填", en="The name is required"),
    "name_too_long": LocalizedText(
        zh=f"姓名最多 {NAME_CHARACTERS} 个字符", en=f"A name has at most {NAME_CHARACTERS} characters"
    ),
    "document_number_missing": LocalizedText(zh="证件号码必填", en="The document number is required"),
    "address_too_long": LocalizedText(
        zh=f"住址最多 {ADDRESS_CHARACTERS} 个字符", en=f"An address has at most {ADDRESS_CHARACTERS} characters"
    ),
    "household_too_long": LocalizedText(
        zh=f"户号最多 {HOUSEHOLD_CHARACTERS} 个字符",
        en=f"A household number has at most {HOUSEHOLD_CHARACTERS} characters",
    ),
    "birth_date_missing": LocalizedText(
        zh="此类证件须填写出生日期", en="The birth date is required for this type of document"
    ),
    "birth_date_differs": LocalizedText(
        zh="出生日期与身份证号码不一致", en="The birth date differs from the one in the ID number"
    ),
    "birth_date_range": LocalizedText(
        zh="出生日期有误（晚于今天或过早）", en="The birth date is in the future or too long ago"
    ),
    "sex_missing": LocalizedText(zh="此类证件须填写性别", en="The sex is required for this type of document"),
    "sex_differs": LocalizedText(zh="性别与身份证号码不一致", en="The sex differs from the one in the ID number"),
    "region_unknown": LocalizedText(
        zh="本辖区内没有该社区、片区或网格", en="Community, patch or grid not found in your region"
    ),
    "days_out_of_order": LocalizedText(zh="结束日期早于开始日期", en="The end date is before the start date"),
}


def invalid(wrong: Sequence[Wrong]) -> InvalidInput:
    """Return the problem for a request about one person."""
    return InvalidInput(errors=[Fault(one.code, MESSAGES[one.code], at=pointer(one.field)) for one in wrong])
