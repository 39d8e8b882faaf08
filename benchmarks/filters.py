"""The user filters of the Python scenarios: one header in, one header out, as small as a real filter gets."""

import proxeny


class Sync(proxeny.HttpFilter):
    """Plain functions: a request that meets them never touches asyncio."""

    def on_request(self, request):
        request.headers["x-user"] = request.headers.get("x-client", "nobody")

    def on_response(self, response):
        response.headers["x-served-by"] = "proxeny"


class Async(proxeny.HttpFilter):
    """Coroutines: each request runs a task."""

    async def on_request(self, request):
        request.headers["x-user"] = request.headers.get("x-client", "nobody")

    async def on_response(self, response):
        response.headers["x-served-by"] = "proxeny"
