"""Names and addresses beside letters of every script: a table of script x detail x neighbour."""

import random
import unicodedata
from itertools import product

import pytest

from textmad.corpus.cleaning import clean

# A word, a name and a full stop of each script; all scripts here may stand right beside a detail.
SCRIPTS = {
    "Chinese": ("谢谢", "小明", "。"),
    "Japanese": ("ありがとう", "たろう", "。"),
    "katakana": ("サーバー", "タロウ", "、"),
    "half-width": ("ｻｰﾊﾞｰ", "ﾀﾛｳ", "｡"),
    "Korean": ("감사합니다", "민수", "."),
    "Arabic": ("شكرا", "سارة", "؟"),
    "Persian": ("می‌خواهم", "علی‌رضا", "،"),
    "Hebrew": ("תודה", "דויד", "."),
    "Hindi": ("धन्यवाद", "नरेंद्र", "।"),
    "Bengali": ("ধন্যবাদ", "রবীন্দ্র", "।"),
    "Tamil": ("நன்றி", "சிவகுமார்", "."),
    "Telugu": ("ధన్యవాదాలు", "శ్రీను", "."),
    "Malayalam": ("നന്ദി", "ശ്രീജിത്ത്", "."),
    "Sinhala": ("ස්තූතියි", "නිමල්", "."),
    "Thai": ("ขอบคุณ", "สมศรี", "๚"),
    "Lao": ("ຂອບໃຈ", "ສົມສີ", "."),
    "Khmer": ("អរគុណ", "សុខា", "។"),
    "Burmese": ("ကျေးဇူး", "အောင်အောင်", "။"),
    "Tibetan": ("ཐུགས་རྗེ", "བསོད་ནམས", "།"),
    "Amharic": ("አመሰግናለሁ", "አበበ", "።"),
    "Mongolian": ("ᠪᠠᠶᠠᠷ", "ᠲᠡᠮᠦᠷ", "᠃"),
}
DETAILS = {
    "https://example.com/jane-doe": "[link]",
    "http://example.org/a?b=c#d": "[link]",
    "www.example.com/jane-doe": "[link]",
    "https://example.com": "[link]",
    "jane.doe@example.com": "[email]",
    "jane_doe+news@mail.example.co.uk": "[email]",
    "@jane_doe": "[user]",
    "@jane.doe": "[user]",
    "＠jane_doe": "[user]",
    "u/jane_doe": "[user]",
    "192.168.10.20": "[ip]",
    "2001:db8::8a2e:370:7334": "[ip]",
    "555-123-4567": "[phone]",
    "(555) 123-4567": "[phone]",
    "010-1234-5678": "[phone]",
    "+86 138 0013 8000": "[phone]",
    "+44 20 7946 0958": "[phone]",
}
# What stands between the word and the detail, on either side; "w" is the word.
NEIGHBOURS = (
    "{w}{d}{w}",
    "{w}{d}",
    "{d}{w}",
    "{w} {d} {w}",
    "{w}{p}{d}{p}{w}",
    "{w}\u200b{d}\u200b{w}",
)
TABLE = list(product(SCRIPTS, DETAILS, NEIGHBOURS))


def test_the_table_has_at_least_two_thousand_cases():
    assert len(TABLE) >= 2_000


@pytest.mark.parametrize("script", SCRIPTS)
def test_a_detail_is_replaced_and_the_words_beside_it_stay(script):
    word, _, stop = SCRIPTS[script]
    wrong = []
    for name, detail, neighbours in TABLE:
        # A full stop of ASCII belongs to the address or number that it touches.
        if name != script or ("{p}" in neighbours and stop == "."):
            continue
        text = neighbours.format(w=word, d=detail, p=stop)
        hidden = neighbours.replace("\u200b", "").format(w=word, d=DETAILS[detail], p=stop)
        expected = unicodedata.normalize("NFC", hidden)
        if clean(text) != expected or clean(expected) != expected:
            wrong.append((text, clean(text), expected))
    assert not wrong


@pytest.mark.parametrize("script", SCRIPTS)
@pytest.mark.parametrize("before", ["", " ", "(", "hello ", "hello", "w"])
def test_a_name_in_its_own_script_is_replaced_whole(script, before):
    word, name, stop = SCRIPTS[script]
    before = word if before == "w" else before
    for end in ("", " ok", f"{stop} ok", ": ok", "!"):
        assert (
            clean(f"{before}@{name}{end}")
            == unicodedata.normalize("NFC", f"{before}[user]{end}").strip()
        )


@pytest.mark.parametrize(
    ("text", "cleaned"),
    [
        ("链接：https://t.cn/RUy3HJN，然后", "链接：[link]，然后"),
        ("https://example.com/谢谢", "[link]谢谢"),
        ("https://zh.wikipedia.org/wiki/小明 谢谢", "[link] 谢谢"),
        ("https://例子.公司/小明 谢谢", "[link] 谢谢"),
        ("https://пример.рф/иван и", "[link] и"),
        ("小明@例子.公司", "[email]"),
        ("राम@example.com को", "[email] को"),
        ("иван@пример.рф!", "[email]!"),
        ("谢谢@jane.doe的帖子", "谢谢[user]的帖子"),
        ("नमस्ते@jane.doe जी", "नमस्ते[user] जी"),
        ("thanks@小明", "thanks[user]"),
        ("@小明_2020 @Жанна", "[user] [user]"),
        ("اتصل ٥٥٥-١٢٣-٤٥٦٧ الآن", "اتصل [phone] الآن"),
        ("مرحبا@ali، شكرا", "مرحبا[user]، شكرا"),
    ],
)
def test_what_belongs_to_a_detail_depends_on_its_script(text, cleaned):
    assert clean(text) == cleaned
    assert clean(cleaned) == cleaned


@pytest.mark.parametrize(
    ("text", "cleaned"),
    [
        ("seehttps://example.org/x now", "see[link] now"),
        ("_https://example.org/x_", "_[link]"),
        ("_www.example.org/x", "_[link]"),
        ("seewww.example.org/x now", "see[link] now"),
        ("awww.that is cute, awww...yes, ewww.", "awww.that is cute, awww...yes, ewww."),
        ("u/a-name-longer-than-reddit-allows!", "[user]!"),
    ],
)
def test_a_link_is_found_behind_a_word_and_an_underscore(text, cleaned):
    assert clean(text) == cleaned


@pytest.mark.parametrize("mark", ["\u200b", "\u2060", "\ufeff", "\u202e", "\u200b\u2066", "\x01"])
def test_what_is_removed_does_not_hide_what_it_touches(mark):
    for detail, placeholder in DETAILS.items():
        # Letters before an address may be its own: there is no telling, so they go with it.
        expected = "[email]" if "@" in detail and "." in detail else f"hello{placeholder}"
        assert clean(f"hello{mark}{detail}") == expected
        assert clean(f"{detail[:-2]}{mark}{detail[-2:]} hello") == f"{placeholder} hello"
    assert clean(f"555-123-4567{mark}hello") == "[phone]hello"
    assert clean(f"jane{mark}@example.org") == "[email]"
    assert clean(f"on{mark}e") == "one"


def test_cleaning_twice_changes_nothing_more_in_any_script():
    draw = random.Random(1)
    fragments = [part for script in SCRIPTS.values() for part in script]
    fragments += [
        *DETAILS,
        *DETAILS.values(),
        "\u200b",
        "\u2066",
        " ",
        "@",
        "＠",
        "/",
        "u/",
        "www.",
    ]
    fragments += ["https://", "_", "-", ".", ":", "1", "555", "+", "a", "x.org", "\u0301", "١"]
    for _ in range(20_000):
        text = "".join(draw.choices(fragments, k=draw.randint(1, 9)))
        once = clean(text)
        assert clean(once) == once, repr(text)
        assert unicodedata.is_normalized("NFC", once), repr(text)
