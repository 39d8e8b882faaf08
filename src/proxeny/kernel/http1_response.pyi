from proxeny.kernel.http1_parse import MessageParser

class ResponseParser(MessageParser):
    status: int
    def expect(self, head: bool, connect: bool, upgrade: bool) -> None: ...
