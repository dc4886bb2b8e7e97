"""Public request traces by name, downloaded on demand and kept in a folder of the user's."""

import os
import re
import warnings
from dataclasses import dataclass
from pathlib import Path

from dnnsched._arrays import check_choice
from dnnsched.errors import FormatError

_GITHUB = "https://github.com/"
_AZURE = _GITHUB + "Azure/AzurePublicDataset/raw/master/data/"
_AZURE_2024 = "https://azurepublicdatasettraces.blob.core.windows.net/azurellminfererencetrace/"
_BURST = _GITHUB + "HPMLL/BurstGPT/raw/main/data/"


@dataclass(frozen=True)
class Source:
    """Where a file is, its SHA-256 as far as a source states one, and the format that reads it."""

    url: str
    format: str
    sha256: str | None = None

    @property
    def file(self):
        """Name of the file in the cache."""
        return self.url.rsplit("/", 1)[-1]


# SHA-256: Azure 2023 as measured on the published files; BurstGPT as in the repository's own pointer file.
SOURCES = {
    "azure_llm_2023_code": Source(_AZURE + "AzureLLMInferenceTrace_code.csv", "azure_llm",
                                  "54e9a6d2a4bd06ba1e060304b900abbc74cbea53de96506e60fe5bb4f2277fb6"),
    "azure_llm_2023_conv": Source(_AZURE + "AzureLLMInferenceTrace_conv.csv", "azure_llm",
                                  "2f1e5b666d4e3055fdbba98598ce2ec307767b9064e03e2fa46676dbcc7d0bf8"),
    "azure_llm_2024_code": Source(_AZURE_2024 + "AzureLLMInferenceTrace_code_1week.csv", "azure_llm"),
    "azure_llm_2024_conv": Source(_AZURE_2024 + "AzureLLMInferenceTrace_conv_1week.csv", "azure_llm"),
    "azure_lmm_2025": Source(_AZURE + "AzureLMMInferenceTrace_multimodal.csv.gz", "azure_lmm"),
    "burstgpt_1": Source(_BURST + "BurstGPT_1.csv", "burstgpt",
                         "4bb3783693d0a435686fbfc885615d2349bd067239079fa4b749f2e679e12122"),
    "mooncake_conversation": Source(
        _GITHUB + "kvcache-ai/Mooncake/raw/main/FAST25-release/traces/conversation_trace.jsonl", "mooncake"),
    "bailian_coder": Source(
        _GITHUB + "alibaba-edu/qwen-bailian-usagetraces-anon/raw/main/qwen_coder_blksz_16.jsonl", "bailian"),
    "alibaba_genai_2026": Source(
        _GITHUB + "alibaba/clusterdata/raw/master/cluster-trace-v2026-GenAI/lora_request_trace.csv", "alibaba_genai"),
}


def data_folder():
    """Folder of fetched files: ``$DNNSCHED_DATA_DIR``, else ``dnnsched`` in the user's cache folder."""
    own = os.environ.get("DNNSCHED_DATA_DIR")
    if own:
        return Path(own)
    return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "dnnsched"


def fetch(name, *, sha256=None):
    """Path of a public trace, downloaded at the first call.

    A file that is in the folder already, put there by an earlier call or by hand, is used without a network and
    without pooch.

    Parameters
    ----------
    name : str
        One of ``azure_llm_2023_code``, ``azure_llm_2023_conv``, ``azure_llm_2024_code``, ``azure_llm_2024_conv``,
        ``azure_lmm_2025``, ``burstgpt_1``, ``mooncake_conversation``, ``bailian_coder``, ``alibaba_genai_2026``.
    sha256 : str, optional
        What the file must hash to, 64 hexadecimal digits; default: the checksum on record. For files without one
        a warning says what was got: a download is not trusted because it came first. The data sets have licences;
        ``meta["data_citations"]`` of what is read from them says which.

    Returns
    -------
    pathlib.Path
        In ``$DNNSCHED_DATA_DIR``, else ``dnnsched`` in the user's cache folder.

    Raises
    ------
    ImportError
        A download needs pooch (extra ``data``).
    ConnectionError
        No network; the message says which file to put where.
    FormatError
        The file has another checksum.
    """
    source = SOURCES[check_choice(name, "name", tuple(SOURCES))]
    wanted = sha256 or source.sha256
    if wanted is not None and not (isinstance(wanted, str) and re.fullmatch(r"[0-9a-fA-F]{64}", wanted)):
        raise ValueError(f"sha256: expected 64 hexadecimal digits, got {wanted!r}")
    path = data_folder() / source.file
    if not path.exists():
        _download(name, source, path, wanted)
    from dnnsched.report.provenance import sha256_of

    got = sha256_of(path)
    if wanted is None:
        warnings.warn(f"{name}: no published checksum is known; {path} has SHA-256 {got}: pass sha256= to pin it",
                      stacklevel=2)
    elif got != wanted.lower():
        raise FormatError(f"{path}: expected SHA-256 {wanted.lower()}, got {got}; delete the file to fetch it again")
    return path


def _download(name, source, path, wanted):
    try:
        import pooch
    except ImportError:
        raise ImportError(f"{name}: fetching needs pooch: pip install 'dnnsched[data]'; or download {source.url} and "
                          f"put it at {path}") from None
    pooch.get_logger().setLevel("WARNING")
    try:
        pooch.retrieve(source.url, known_hash=wanted and f"sha256:{wanted.lower()}", fname=path.name, path=path.parent)
    except OSError as exc:
        raise ConnectionError(f"{name}: cannot fetch {source.url} ({exc.__class__.__name__}); download it where there "
                              f"is a network and put it at {path}") from None
    except ValueError as exc:
        raise FormatError(f"{name}: {source.url}: {exc}") from None
