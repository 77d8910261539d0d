"""Documents, phones and masks: what is accepted, what is refused and why, what a screen shows."""

from datetime import date, timedelta

import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from services.registry.residents import identity
from services.registry.residents.identity import DocumentType, IdentityFault

TODAY = date(2021, 1, 20)


def number_of(first17: str) -> str:
    return first17 + identity.check_digit(first17)


def check(number: str, *, demonstration: bool = False) -> identity.IdFacts:
    return identity.check_resident_id(number, today=TODAY, demonstration=demonstration)


ids = st.builds(
    lambda province, county, born, sequence: number_of(f"{province}{county:04d}{born:%Y%m%d}{sequence:03d}"),
    st.sampled_from(sorted(identity.PROVINCES)),
    st.integers(0, 9999),
    st.dates(date(1900, 1, 1), TODAY),
    st.integers(0, 999),
)


@pytest.mark.parametrize(
    ("number", "born", "sex"),
    [
        # The two examples printed in GB 11643-1999.
        ("11010519491231002X", date(1949, 12, 31), "female"),
        ("440524188001010014", date(1880, 1, 1), "male"),
    ],
)
def test_the_examples_of_the_standard(number: str, born: date, sex: str) -> None:
    facts = identity.check_resident_id(number, today=date(1999, 7, 1), demonstration=False)
    assert facts == identity.IdFacts(number, born, sex, False)


@pytest.mark.parametrize(
    "written", ["11010519491231002x", "１１０１０５１９４９１２３１００２Ｘ", "11010519491231002ｘ"]
)
def test_one_spelling_for_one_number(written: str) -> None:
    assert check(written).number == "11010519491231002X"


@pytest.mark.parametrize(
    ("number", "reason"),
    [
        ("", "id_length"),
        ("110105491231002", "id_of_fifteen"),
        ("11010549123100X", "id_length"),
        ("11010519491231002XX", "id_characters"),
        ("1101051949123100200", "id_length"),
        (" 11010519491231002X", "id_characters"),
        ("11010519491231002X ", "id_characters"),
        ("110105 19491231002X", "id_characters"),
        ("1101051949123100X2", "id_characters"),
        ("11010519491231002A", "id_characters"),
        ("١١010519491231002X", "id_characters"),
        ("110105194912310021", "id_check_digit"),
        (number_of("99010519491231002"), "id_province"),
        (number_of("16010519491231002"), "id_province"),
        (number_of("91010519491231002"), "id_province"),
        (number_of("35058219900230123"), "id_birth_date"),
        (number_of("35058219901301123"), "id_birth_date"),
        (number_of("35058219000229123"), "id_birth_date"),
        (number_of("35058200000101123"), "id_birth_date"),
        (number_of("35058220210121123"), "id_birth_date_in_future"),
        (number_of("35058218910119123"), "id_birth_date_too_old"),
        (number_of("00000019900101123"), "id_demonstration"),
    ],
)
def test_what_is_refused_says_why(number: str, reason: str) -> None:
    with pytest.raises(IdentityFault) as caught:
        check(number)
    assert caught.value.reason == reason
    assert reason in identity.REASONS
    assert not number or number not in str(caught.value)


@pytest.mark.parametrize("born", ["20210120", "20000229", "18910120"])
def test_the_edges_of_a_birth_date(born: str) -> None:
    assert f"{check(number_of(f'350582{born}123')).birth_date:%Y%m%d}" == born


def test_an_old_county_code_stays_valid() -> None:
    # 512922 was a county of Sichuan that now lies in another city under another code.
    assert check(number_of("51292219650101123")).sex == "male"


@given(st.integers(0, 9999), st.dates(date(1900, 1, 1), TODAY), st.integers(0, 999))
def test_reserved_numbers_pass_in_a_demonstration_only(address: int, born: date, sequence: int) -> None:
    number = number_of(f"00{address:04d}{born:%Y%m%d}{sequence:03d}")
    facts = check(number, demonstration=True)
    assert (facts.birth_date, facts.demonstration) == (born, True)
    with pytest.raises(IdentityFault, match="id_demonstration"):
        check(number)


def test_a_reserved_number_is_checked_like_any_other() -> None:
    for number, reason in [
        ("000000199001011230", "id_check_digit"),
        (number_of("00000019900230123"), "id_birth_date"),
    ]:
        with pytest.raises(IdentityFault, match=rf"^{reason}$"):
            check(number, demonstration=True)


@given(ids)
def test_a_right_number_says_its_facts(number: str) -> None:
    facts = check(number)
    assert f"{facts.birth_date:%Y%m%d}" == number[6:14]
    assert facts.sex == ("male" if number[16] in "13579" else "female")
    assert facts.number == number
    assert not facts.demonstration
    assert check(number, demonstration=True) == facts


@given(ids, st.integers(0, 17), st.sampled_from("0123456789X"))
def test_any_one_wrong_character_is_caught(number: str, place: int, character: str) -> None:
    assume(number[place] != character)
    with pytest.raises(IdentityFault):
        check(number[:place] + character + number[place + 1 :], demonstration=True)


@given(ids, st.integers(0, 16))
def test_any_two_neighbours_exchanged_are_caught(number: str, place: int) -> None:
    assume(number[place] != number[place + 1])
    swapped = number[:place] + number[place + 1] + number[place] + number[place + 2 :]
    with pytest.raises(IdentityFault):
        check(swapped, demonstration=True)


@given(st.text(max_size=30))
def test_any_text_is_answered(text: str) -> None:
    for kind in DocumentType:
        try:
            number, _ = identity.check_document(kind, text, today=TODAY, demonstration=False)
        except IdentityFault:
            continue
        assert number.isascii()
        assert 5 <= len(number) <= 40 or (kind is DocumentType.OTHER and len(number) >= 3)


@pytest.mark.parametrize(
    ("kind", "number", "kept"),
    [
        (DocumentType.HK_MACAO_PERMIT, "h12345678", "H12345678"),
        (DocumentType.HK_MACAO_PERMIT, "M1234567801", "M1234567801"),
        (DocumentType.HK_MACAO_PERMIT, "T12345678", None),
        (DocumentType.HK_MACAO_PERMIT, "H123456780", None),
        (DocumentType.TAIWAN_PERMIT, "12345678", "12345678"),
        (DocumentType.TAIWAN_PERMIT, "1234567801b", "1234567801B"),
        (DocumentType.TAIWAN_PERMIT, "1234567", None),
        (DocumentType.PASSPORT, "ｅ１２３４５６７８", "E12345678"),
        (DocumentType.PASSPORT, "E 1234567", None),
        (DocumentType.PASSPORT, "ſ12345678", None),
        (DocumentType.FOREIGN_RESIDENT, "CAN110081092810", "CAN110081092810"),
        (DocumentType.FOREIGN_RESIDENT, "91112419850101123X", "91112419850101123X"),
        (DocumentType.FOREIGN_RESIDENT, "11010519491231002X", None),
        (DocumentType.OTHER, "AB-12/3(4)", "AB-12/3(4)"),
        (DocumentType.OTHER, "ab", None),
        (DocumentType.OTHER, "a" * 41, None),
    ],
)
def test_the_other_documents_are_checked_by_form(kind: DocumentType, number: str, kept: str | None) -> None:
    if kept is not None:
        assert identity.check_document(kind, number, today=TODAY, demonstration=False) == (kept, None)
        return
    with pytest.raises(IdentityFault, match=r"^document_number_form$"):
        identity.check_document(kind, number, today=TODAY, demonstration=False)


def test_a_resident_id_as_a_document_says_its_facts() -> None:
    number, facts = identity.check_document(
        DocumentType.RESIDENT_ID, "11010519491231002x", today=TODAY, demonstration=False
    )
    assert number == "11010519491231002X"
    assert facts == check(number)


@pytest.mark.parametrize(("code", "kind"), [("", 10), ("10", 10), ("１４", 14), ("99", 99)])
def test_document_types(code: str, kind: int) -> None:
    assert identity.document_type(code) == kind


@pytest.mark.parametrize("code", ["11", "resident", "-10", "1e1", "10.0"])
def test_unknown_document_types(code: str) -> None:
    with pytest.raises(IdentityFault, match=r"^document_type_unknown$"):
        identity.document_type(code)


@pytest.mark.parametrize(
    ("written", "kept"),
    [
        ("13800005678", "13800005678"),
        ("138-0000-5678", "13800005678"),
        ("+86 138 0000 5678", "13800005678"),
        ("＋８６１３８００００５６７８", "13800005678"),
        ("008613800005678", "13800005678"),
        ("8613800005678", "13800005678"),
        ("15400000001", "15400000001"),
        ("0595-85661234", "059585661234"),
        ("(0595)8566123", "05958566123"),
        ("+86 595 8566 1234", "059585661234"),
        ("+86 0595 8566 1234", "059585661234"),
        ("010 8888 6666", "01088886666"),
        ("+86 10 8888 6666", "01088886666"),
        ("+852 9123 4567", "+85291234567"),
        ("00853 6612 3456", "+85366123456"),
        ("+886 912 345 678", "+886912345678"),
        ("+1 202 555 0123", "+12025550123"),
    ],
)
def test_one_spelling_for_one_phone(written: str, kept: str) -> None:
    assert identity.normalise_phone(written) == kept
    assert identity.normalise_phone(kept) == kept


@pytest.mark.parametrize(
    "written",
    [
        "",
        "1380000567",
        "138000056789",
        "12800005678",
        "120",
        "10086",
        "85661234",
        "+8613800",
        "+8521234",
        "+853123456789",
        "+0123456789",
        "+1234567890123456",
        "0595-85661234-801",
        "1380000567a",
        "١3800005678",
        "+86",
        "00",
        "0595 15661234",
    ],
)
def test_what_is_no_phone(written: str) -> None:
    with pytest.raises(IdentityFault, match=r"^phone_form$"):
        identity.normalise_phone(written)


@pytest.mark.parametrize(
    ("mask", "text", "shown"),
    [
        (identity.mask_number, "350582199001011234", "350582********1234"),
        (identity.mask_number, "CAN110081092810", "CAN110*****2810"),
        (identity.mask_number, "E12345678", "E1*****78"),
        (identity.mask_number, "12345678", "12****78"),
        (identity.mask_number, "AB123", "A****"),
        (identity.mask_number, "", ""),
        (identity.mask_phone, "13800005678", "138****5678"),
        (identity.mask_phone, "059585661234", "059*****1234"),
        (identity.mask_phone, "+85291234567", "+85*****4567"),
        (identity.mask_phone, "+1234567", "******67"),
        (identity.mask_phone, "12", "**"),
        (identity.mask_name, "张三", "张*"),
        (identity.mask_name, "欧阳娜娜", "欧***"),
        (identity.mask_name, "张", "*"),
        (identity.mask_name, "", ""),
    ],
)
def test_masks(mask: object, text: str, shown: str) -> None:
    assert callable(mask)
    assert mask(text) == shown


@given(st.text("0123456789ABX+", min_size=1, max_size=40))
def test_a_mask_keeps_the_length_and_hides_something(text: str) -> None:
    for mask in (identity.mask_number, identity.mask_phone, identity.mask_name):
        shown = mask(text)
        assert len(shown) == len(text)
        assert "*" in shown
        assert all(character in (original, "*") for character, original in zip(shown, text, strict=True))


@pytest.mark.parametrize(
    ("born", "fifteen", "sixty"),
    [
        (date(2006, 1, 21), date(2021, 1, 21), date(2066, 1, 21)),
        (date(2006, 1, 1), date(2021, 1, 1), date(2066, 1, 1)),
        (date(2008, 2, 29), date(2023, 2, 28), date(2068, 2, 29)),
        (date(1904, 2, 29), date(1919, 2, 28), date(1964, 2, 29)),
        # Sixty years after 1840 is 1900, which was no leap year.
        (date(1840, 2, 29), date(1855, 2, 28), date(1900, 2, 28)),
        (date(2009, 2, 28), date(2024, 2, 28), date(2069, 2, 28)),
        (date(2009, 3, 1), date(2024, 3, 1), date(2069, 3, 1)),
    ],
)
def test_on_which_day_somebody_turns_so_many_years_old(born: date, fifteen: date, sixty: date) -> None:
    assert identity.birthday(born, identity.CHILD_YEARS + 1) == fifteen
    assert identity.birthday(born, identity.ELDER_YEARS) == sixty


@given(st.dates(date(1850, 1, 1), date(2100, 1, 1)), st.integers(1, 90))
def test_birthdays_agree_with_age(born: date, years: int) -> None:
    turns = identity.birthday(born, years)
    assert (identity.age_on(born, turns - timedelta(days=1)), identity.age_on(born, turns)) == (years - 1, years)
    assert identity.age_on(born, born) == 0
