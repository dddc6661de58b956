"""Bodies that someone sends on purpose: each must be refused with a 4xx, and none may be echoed."""

from __future__ import annotations

MARK = "canary7f3a"
"""Stands in every body that can carry it, so that a test sees an echo."""

BAD_JSON: dict[str, bytes] = {
    "nothing but space": b"  ",
    "cut off": b'{"username": "canary7f3a"',
    "two documents": b'{"username": "canary7f3a"} {}',
    "single quotes": b"{'username': 'canary7f3a'}",
    "trailing comma": b'{"username": "canary7f3a",}',
    "comment": b'{"username": "canary7f3a" /* why */}',
    "byte-order mark": b'\xef\xbb\xbf{"username": "canary7f3a"}',
    "not UTF-8": b'{"username": "canary7f3a\xff"}',
    "overlong UTF-8": b'{"username": "canary7f3a\xc0\x80"}',
    "UTF-16": '{"username": "canary7f3a"}'.encode("utf-16"),
    "surrogate in UTF-8": b'{"username": "canary7f3a\xed\xa0\x80"}',
    "NUL, raw": b'{"username": "canary7f3a\x00"}',
    "NUL, escaped": b'{"username": "canary7f3a\\u0000"}',
    "NUL in a key": b'{"canary7f3a\\u0000": 1}',
    "high surrogate alone": b'{"username": "canary7f3a\\ud800"}',
    "low surrogate alone": b'{"username": "canary7f3a\\udc00"}',
    "surrogates in the wrong order": b'{"username": "canary7f3a\\udc00\\ud800"}',
    "surrogate in a key": b'{"canary7f3a\\ud800": 1}',
    "control character": b'{"username": "canary7f3a\n"}',
    "duplicate key": b'{"username": "canary7f3a", "username": "luis"}',
    "duplicate key, escaped": b'{"username": "canary7f3a", "user\\u006eame": "luis"}',
    "duplicate key, deep": b'{"username": [{"canary7f3a": 1, "canary7f3a": 2}]}',
    "NaN": b'{"username": NaN, "password": "canary7f3a"}',
    "Infinity": b'{"username": Infinity, "password": "canary7f3a"}',
    "minus Infinity": b'{"username": -Infinity, "password": "canary7f3a"}',
    "past 64 bits": b'{"username": 9223372036854775808}',
    "past 64 bits, negative": b'{"username": -9223372036854775809}',
    "ten thousand digits": b'{"username": ' + b"9" * 10_000 + b"}",
    "float past 64 bits": b'{"username": 1e400}',
    "leading zero": b'{"username": 012}',
    "hexadecimal": b'{"username": 0x12}',
    "33 deep": b"[" * 33 + b"]" * 33,
    "33 deep, objects": b'{"a":' * 33 + b"1" + b"}" * 33,
    "100,000 deep": b"[" * 100_000,
    "100,000 deep, closed": b"[" * 50_000 + b"]" * 50_000,
    "100,000 deep, objects": b'{"a":' * 40_000,
}
"""Not JSON, or JSON that readers disagree about."""

INVALID: dict[str, bytes] = {
    "null": b"null",
    "a number": b"1",
    "a string": b'"canary7f3a"',
    "an array": b'["canary7f3a"]',
    "32 deep": b"[" * 32 + b"]" * 32,
    "nothing": b"{}",
    "unknown field": b'{"username": "ana", "password": "wrong", "canary7f3a": 1}',
    "unknown field, strange": '{"username": "ana", "password": "wrong", "<b>canary7f3a\u202e": 1}'.encode(),
    "tenant in the body": b'{"username": "ana", "password": "wrong", "tenant": "canary7f3a"}',
    "true for text": b'{"username": true, "password": "canary7f3a"}',
    "number for text": b'{"username": 12, "password": "canary7f3a"}',
    "null for text": b'{"username": null, "password": "canary7f3a"}',
    "array for text": b'{"username": ["canary7f3a"], "password": "x"}',
    "object for text": b'{"username": {"$ne": "canary7f3a"}, "password": "x"}',
    "empty": b'{"username": "", "password": "canary7f3a"}',
    "too long": b'{"username": "' + b"canary7f3a" * 100 + b'", "password": "x"}',
    "password too long": b'{"username": "ana", "password": "' + b"canary7f3a" * 1000 + b'"}',
    "prototype": b'{"__proto__": {"canary7f3a": 1}, "username": "ana", "password": "x"}',
    "ten thousand unknown fields": b"{" + b",".join(b'"canary7f3a%d":1' % n for n in range(10_000)) + b"}",
}
"""Good JSON that is no login."""
