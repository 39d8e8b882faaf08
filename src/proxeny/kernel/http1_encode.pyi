from proxeny.kernel.buffer import Buffer
from proxeny.kernel.headers import HeaderMap

CHUNKED: int
MISSING_METHOD: int
MISSING_PATH: int
MISSING_HOST: int
MISSING_STATUS: int
MISSING_SCHEME: int
KEY_LOWER: int
KEY_PROPER: int

def reason_phrase(status: int) -> bytes: ...
def encode_request_head(
    headers: HeaderMap,
    out: Buffer,
    end_stream: bool,
    upgrade: bool = ...,
    key_format: int = ...,
    absolute_form: bool = ...,
) -> int: ...
def encode_response_head(
    headers: HeaderMap,
    out: Buffer,
    end_stream: bool,
    http10: bool = ...,
    to_head: bool = ...,
    to_connect: bool = ...,
    key_format: int = ...,
) -> int: ...
def encode_chunk(source: Buffer, out: Buffer) -> None: ...
def encode_last_chunk(out: Buffer, trailers: HeaderMap | None = ...) -> None: ...
