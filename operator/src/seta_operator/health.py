"""GET /healthz: 200 once the operator decides, else 503 and a sentence that tells what it waits for."""

from collections.abc import Callable

from aiohttp import web

ADDRESS, PORT = "127.0.0.1", 9234


async def serve(problem: Callable[[], str], port: int) -> web.AppRunner:
    """Answer from now on; `problem` tells what is wrong, or nothing. The caller cleans the runner up."""

    async def answer(_request: web.Request) -> web.Response:
        told = problem()
        return web.Response(status=503 if told else 200, text=f"{told or 'ok'}\n")

    application = web.Application()
    application.router.add_get("/healthz", answer)
    runner = web.AppRunner(application, access_log=None)
    await runner.setup()
    await web.TCPSite(runner, ADDRESS, port).start()
    return runner
