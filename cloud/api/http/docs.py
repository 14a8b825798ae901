"""The description of the API as a page to read and to try. All of it comes from this service, from no other host."""

from importlib.resources import files

from fastapi import APIRouter
from starlette.responses import HTMLResponse, Response

from cloud.api.http.errors import NotFound

router = APIRouter(prefix="/api/v1/docs", tags=["docs"], include_in_schema=False)
POLICY = (
    "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' data:; connect-src 'self'; "
    "base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
)
"""Nothing inline, nothing from elsewhere; data: are the arrows of the style sheet."""
_HEADERS = {"Content-Security-Policy": POLICY, "Cache-Control": "public, max-age=3600"}
_PAGE = """<!DOCTYPE html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<title>SEGS API</title>
<link rel="stylesheet" href="docs/swagger-ui.css">
<link rel="icon" href="docs/favicon-32x32.png">
</head>
<body>
<div id="page"></div>
<script src="docs/swagger-ui-bundle.js"></script>
<script src="docs/start.js"></script>
</body>
</html>
"""
# A validator of somebody else's would be told of this API; a token that outlives the tab would be anybody's.
_START = """SwaggerUIBundle({
  url: "openapi.json",
  dom_id: "#page",
  deepLinking: true,
  displayRequestDuration: true,
  persistAuthorization: false,
  tryItOutEnabled: true,
  validatorUrl: null,
});
"""
_MEDIA_TYPES = {
    "swagger-ui.css": "text/css",
    "swagger-ui-bundle.js": "text/javascript",
    "favicon-32x32.png": "image/png",
}


@router.get("")
async def page() -> Response:
    """The page itself."""
    return HTMLResponse(_PAGE, headers=_HEADERS)


@router.get("/{asset}")
def asset(asset: str) -> Response:
    """A part of it: Swagger UI, as packaged by fastapi-swagger, and what starts it."""
    if asset == "start.js":
        return Response(_START, headers=_HEADERS, media_type="text/javascript")
    if asset not in _MEDIA_TYPES:
        raise NotFound("the page has no such part")
    content = (files("fastapi_swagger.resources") / asset).read_bytes()
    return Response(content, headers=_HEADERS, media_type=_MEDIA_TYPES[asset])
