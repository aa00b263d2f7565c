"""Wrong encodings, byte-order marks, and characters that a database cannot hold."""

GOOD = b'{"prompt": "p", "responses": ["x", "y"]}\n'


def second(text: bytes) -> bytes:
    """A sound line, then one with that prompt."""
    return GOOD + b'{"prompt": ' + text + b', "responses": ["x", "y"]}\n'


FILES = {
    "latin-1.jsonl": (second('"café"'.encode("latin-1")), 2, "", "byte 0xe9"),
    "windows-1252.jsonl": (second(b'"\x93quoted\x94"'), 2, "", "byte 0x93"),
    "shift-jis.jsonl": (second('"日本"'.encode("shift-jis")), 2, "", "not UTF-8"),
    "utf-16-le.jsonl": (GOOD.decode().encode("utf-16"), 0, "", "UTF-16"),
    "utf-16-be.json": ("[]".encode("utf-16-be"), 0, "", ""),
    "utf-32.json": (b"\xff\xfe\x00\x00" + '[{"a": 1}]'.encode("utf-32-le"), 0, "", ""),
    "utf-16.csv": ("prompt,response_a,response_b\np,x,y\n".encode("utf-16"), 0, "", "UTF-16"),
    "cut-character.jsonl": (second(b'"caf\xc3"'), 2, "", "byte 0xc3"),
    "overlong-slash.jsonl": (second(b'"\xc0\xaf"'), 2, "", "byte 0xc0"),
    "encoded-surrogate.jsonl": (second(b'"\xed\xa0\x80"'), 2, "", "byte 0xed"),
    "latin-1.json": (b"[\n" + second('"café"'.encode("latin-1")).replace(b"}\n{", b"},\n{") + b"]", 0, "", "0xe9"),
    "latin-1.csv": (b"prompt,response_a,response_b\ncaf\xe9,x,y\n", 0, "", "Line 2: byte 0xe9"),
    "bom.jsonl": (b"\xef\xbb\xbf" + GOOD, None, "", ""),
    "bom.json": (b"\xef\xbb\xbf[" + GOOD + b"]", None, "", ""),
    "bom.csv": ("\ufeffprompt,response_a,response_b\np,x,y\n".encode(), None, "", ""),
    "bom-in-the-middle.jsonl": (GOOD + b"\xef\xbb\xbf" + second(b'"q"')[len(GOOD) :], None, "", ""),
    "nul-byte.jsonl": (second(b'"a\x00b"'), 2, "", "control character"),
    "nul-escape.jsonl": (second(b'"a\\u0000b"'), 2, "prompt", "NUL"),
    "nul.csv": (b"prompt,response_a,response_b\na\x00b,x,y\n", 2, "prompt", "NUL"),
    "nul-in-a-key.jsonl": (second(b'"p", "a\\u0000": 1'), 2, "(a key)", "NUL"),
    "lone-high-surrogate.jsonl": (second(b'"\\ud83d"'), 2, "prompt", "U+D83D"),
    "lone-low-surrogate.jsonl": (second(b'"\\udc00 x"'), 2, "prompt", "U+DC00"),
    "swapped-surrogates.jsonl": (second(b'"\\ude42\\ud83d"'), 2, "prompt", "U+DE42"),
    "surrogate-in-metadata.jsonl": (second(b'"p", "metadata": {"x": ["\\ud800"]}'), 2, "metadata.x[0]", "U+D800"),
    "control-character.jsonl": (second(b'"a\x01b"'), 2, "", "control character"),
    "line-separator.jsonl": (second('"a\u2028b\u2029c\u0085d"'.encode()), None, "", ""),
    "emoji-and-marks.jsonl": (second('"👩‍👩‍👧‍👦 e\u0301 \u202eright to left\u202c"'.encode()), None, "", ""),
}
