from proxeny.kernel.http1_parse import MessageParser
from proxeny.matcher.string import StringMatcher

class RequestParser(MessageParser):
    connect: bool
    head_request: bool
    expect_continue: bool
    allow_absolute_url: bool
    allow_custom_methods: bool
    accept_http_10: bool
    default_host: bytes
    ignored_upgrades: tuple[StringMatcher, ...] | None

JOINED: frozenset[bytes]
