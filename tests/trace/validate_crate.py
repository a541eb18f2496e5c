"""Judge a crate with rocrate-validator, with the Python of the validator's own environment.

    python validate_crate.py CRATE STAND_IN CACHE

prints JSON: which context was used, and of each profile the requirements that the crate does not meet.

The validator needs the context https://w3id.org/ro/crate/1.1/context. It is fetched where there is a network.
Otherwise STAND_IN is used, a file that is *not* the published context but one made from another version of
it (see ``test_validator.py``); the answer says which. Either is put into the validator's HTTP cache, CACHE.
"""

import json
import sys
from pathlib import Path

import requests
from requests_cache import CachedRequest, CachedResponse, CachedSession
from rocrate_validator import services
from rocrate_validator.models import Severity, ValidationSettings

CONTEXT = "https://w3id.org/ro/crate/1.1/context"
PROFILES = ("ro-crate-1.1", "workflow-ro-crate-1.0", "process-run-crate-0.5", "workflow-run-crate-0.5")


def published() -> bytes | None:
    """The published context; None without a network."""
    try:
        response = requests.get(CONTEXT, headers={"Accept": "application/ld+json"}, timeout=10)
        known = response.status_code == 200 and "@context" in response.json()
    except (requests.RequestException, ValueError):
        return None
    return response.content if known else None


def keep(content: bytes, cache: Path) -> None:
    """Put the context into the validator's cache, as if it had been fetched."""
    request = requests.Request("GET", CONTEXT).prepare()
    response = CachedResponse(
        url=CONTEXT,
        status_code=200,
        reason="OK",
        headers={"Content-Type": "application/ld+json"},
        request=CachedRequest.from_request(request),
    )
    response._content = content
    with CachedSession(cache_name=str(cache), backend="sqlite", expire_after=-1) as session:
        session.cache.save_response(response)


def unmet(crate: Path, profile: str, cache: Path) -> list[str]:
    """The requirements of a profile that a crate does not meet."""
    settings = ValidationSettings(
        rocrate_uri=str(crate),
        profile_identifier=profile,
        requirement_severity=Severity.REQUIRED,
        offline=True,
        cache_path=cache,
    )
    result = services.validate(settings)
    return sorted({f"{issue.check.identifier}: {issue.message}" for issue in result.get_issues()})


def main(crate: str, stand_in: str, cache: str) -> None:
    """Print the judgement of each profile."""
    content = published()
    keep(content or Path(stand_in).read_bytes(), Path(cache))
    found = {profile: unmet(Path(crate), profile, Path(cache)) for profile in PROFILES}
    print(json.dumps({"context": "published" if content else "stand-in", "unmet": found}))


if __name__ == "__main__":
    main(*sys.argv[1:])
