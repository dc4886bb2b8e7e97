"""Formats of request streams as data: columns with unit, kind and accepted range, and the few that need a rule.

One :class:`Format` per public data set (or tool) says everything that the readers, ``dnnsched trace`` and the
documentation know about it. Column names are those of the files; fields are the names in a table, with units.
"""

import math
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np


@dataclass(frozen=True)
class Column:
    """One column of a format.

    Attributes
    ----------
    name : str
        In the file.
    field : str
        In a table, with its unit.
    kind : {"float", "int", "time", "text"}
        ``time`` is a UTC stamp ``YYYY-MM-DD hh:mm:ss[.fraction]`` and becomes seconds after the first row.
    doc : str
    per_unit : float
        Units of the file per unit of the field: 1000 where the file has milliseconds and the field seconds.
    low, high : float
        Accepted range of the file's values, inclusive.
    open_low : bool
        `low` itself is refused.
    optional : bool
        The column may be missing.
    nullable : bool
        A field may be empty; read as NaN (only ``float``).
    infinity : bool
        Positive infinity is accepted.
    """

    name: str
    field: str
    kind: str
    doc: str
    per_unit: float = 1.0
    low: float = -math.inf
    high: float = math.inf
    open_low: bool = False
    optional: bool = False
    nullable: bool = False
    infinity: bool = False

    @property
    def expected(self):
        """What an error message asks for."""
        if self.kind == "text":
            return "UTF-8 text"
        if self.kind == "time":
            return "a time YYYY-MM-DD hh:mm:ss[.fraction] in UTC"
        text = "an integer" if self.kind == "int" else "a number" if self.infinity else "a finite number"
        if self.low > -math.inf:
            text += f" {'>' if self.open_low else '>='} {self.low:g}"
        if self.high < math.inf:
            text += f"{' and' if self.low > -math.inf else ''} <= {self.high:g}"
        return text + (", or nothing" if self.nullable else "")

    @property
    def unit(self):
        """Unit of the file's values, for the documentation."""
        if self.kind in ("text", "time"):
            return {"text": "", "time": "UTC"}[self.kind]
        if self.field.endswith("_s"):
            return {1.0: "s", 1e3: "ms", 1e6: "us", 1e9: "ns"}[self.per_unit]
        return "tokens" if self.field.endswith("tokens") else ""


@dataclass(frozen=True)
class Format:
    """One format of request streams.

    Attributes
    ----------
    name, title : str
    container : {"csv", "jsonl", "mlperf", "parquet"}
        ``parquet`` stands beside csv and jsonl for our own format only.
    columns : tuple of Column
    time : str
        Field with the arrival time, or, with `start`, the one a row is ordered by in messages.
    origin : bool
        The file's clock has an arbitrary zero: arrivals count from the first request.
    sorts : bool
        Rows need not be in order of arrival and are sorted (stably). Other formats must be in order.
    model : str
        Field that names what was asked for, or "".
    tokens : tuple of str
        Fields with input and output tokens, or empty.
    session : str
        Field that names the session, or "".
    start : callable, optional
        (columns) -> arrival times in seconds, where they are not a column.
    failed : callable, optional
        (columns) -> mask of the requests that failed; then `failed_doc` says which these are.
    header : bool
        The file starts with a header line.
    citation, licence, source : str
        Who to cite, under which licence, and where the files are.
    """

    name: str
    title: str
    container: str
    columns: tuple
    time: str = "time_s"
    origin: bool = False
    sorts: bool = False
    model: str = ""
    tokens: tuple = ()
    session: str = ""
    start: Callable | None = None
    failed: Callable | None = None
    failed_doc: str = ""
    header: bool = True
    citation: str = ""
    licence: str = ""
    source: str = ""

    @property
    def citations(self):
        """What ``data_citations`` of a workload holds."""
        return [f"{self.title} ({self.licence}): {self.citation}"] if self.citation else []


def _tokens(context, generated, *fields):
    return (Column(context, fields[0], "int", "input tokens", low=0),
            Column(generated, fields[1], "int", "output tokens", low=0))


def _is(names, code_column, values):
    """Mask of the rows whose text is one of `values`; text columns are (codes, names)."""
    codes, table = names[code_column]
    return np.isin(codes, [i for i, name in enumerate(table) if name in values])


_AZURE_TIME = Column("TIMESTAMP", "time_s", "time", "invocation time, up to 9 fractional digits")

_ALL = (
    Format("azure_llm", "Azure LLM inference traces 2023 and 2024", "csv",
           (_AZURE_TIME, *_tokens("ContextTokens", "GeneratedTokens", "context_tokens", "generated_tokens")),
           origin=True, tokens=("context_tokens", "generated_tokens"),
           citation="P. Patel et al., Splitwise: Efficient Generative LLM Inference Using Phase Splitting, ISCA 2024; "
                    "for the files of 2024 J. Stojkovic et al., DynamoLLM, arXiv 2408.00741",
           licence="CC-BY 4.0", source="github.com/Azure/AzurePublicDataset"),
    Format("azure_lmm", "Azure LMM inference trace 2025", "csv",
           (_AZURE_TIME, Column("NumImages", "n_images", "int", "images of the request", low=0),
            *_tokens("ContextTokens", "GeneratedTokens", "context_tokens", "generated_tokens")),
           origin=True, tokens=("context_tokens", "generated_tokens"),
           citation="H. Qiu et al., ModServe: Modality- and Stage-Aware Resource Disaggregation for Scalable "
                    "Multimodal Model Serving, SoCC 2025",
           licence="CC-BY 4.0", source="github.com/Azure/AzurePublicDataset"),
    Format("azure_functions", "Azure Functions invocation trace 2021", "csv",
           (Column("app", "app", "text", "application"), Column("func", "func", "text", "function of the application"),
            Column("end_timestamp", "end_s", "float", "end of the invocation", low=0),
            Column("duration", "duration_s", "float", "duration of the invocation", low=0)),
           time="end_s", origin=True, sorts=True, model="func", start=lambda c: c["end_s"] - c["duration_s"],
           citation="Y. Zhang et al., Faster and Cheaper Serverless Computing on Harvested Resources, SOSP 2021",
           licence="CC-BY 4.0", source="github.com/Azure/AzurePublicDataset"),
    Format("burstgpt", "BurstGPT", "csv",
           (Column("Timestamp", "time_s", "float", "submission, from the first day 0:00", low=0),
            Column("Session ID", "session_id", "text", "conversation (from version 1.2)", optional=True),
            Column("Elapsed time", "elapsed_s", "float", "response time (from version 1.2)", low=0, optional=True,
                   nullable=True),
            Column("Model", "model", "text", "ChatGPT or GPT-4"),
            *_tokens("Request tokens", "Response tokens", "request_tokens", "response_tokens"),
            Column("Total tokens", "total_tokens", "int", "sum of both", low=0),
            Column("Log Type", "log_type", "text", "conversation or API")),
           origin=True, model="model", tokens=("request_tokens", "response_tokens"), session="session_id",
           failed=lambda c: c["response_tokens"] == 0, failed_doc="no response tokens",
           citation="Y. Wang et al., BurstGPT: A Real-world Workload Dataset to Optimize LLM Serving Systems, "
                    "arXiv 2401.17644",
           licence="CC-BY 4.0", source="github.com/HPMLL/BurstGPT"),
    Format("mooncake", "Mooncake traces", "jsonl",
           (Column("timestamp", "time_s", "float", "arrival; many ties", per_unit=1e3, low=0),
            *_tokens("input_length", "output_length", "input_tokens", "output_tokens")),
           tokens=("input_tokens", "output_tokens"),
           citation="R. Qin et al., Mooncake: Trading More Storage for Less Computation, FAST 2025",
           licence="Apache-2.0", source="github.com/kvcache-ai/Mooncake"),
    Format("bailian", "Qwen-Bailian usage traces", "jsonl",
           (Column("timestamp", "time_s", "float", "arrival", low=0),
            Column("chat_id", "chat_id", "int", "request"),
            Column("parent_chat_id", "parent_chat_id", "int", "the turn before, -1 = none", low=-1),
            Column("turn", "turn", "int", "turn of the conversation", low=0),
            Column("type", "type", "text", "text, search, image or file"),
            *_tokens("input_length", "output_length", "input_tokens", "output_tokens")),
           model="type", tokens=("input_tokens", "output_tokens"),
           citation="J. Wang et al., KVCache Cache in the Wild, USENIX ATC 2025",
           licence="Apache-2.0", source="github.com/alibaba-edu/qwen-bailian-usagetraces-anon"),
    Format("alibaba_genai", "Alibaba GenAI serving trace 2026 (lora_request_trace)", "csv",
           (Column("gmt_create", "time_s", "time", "creation"),
            Column("predict_type", "predict_type", "text", "TXT_2_IMG, IMG_2_IMG or INPAINTING"),
            Column("predict_status", "predict_status", "text", "SUCCEED, FAILED, ..."),
            Column("exec_time_seconds", "exec_s", "float", "execution time", low=0, nullable=True),
            Column("groupId", "group", "text", "user group"),
            Column("prompt_length", "prompt_chars", "float", "characters of the prompt", low=0, nullable=True),
            Column("negative_prompt_length", "negative_prompt_chars", "float", "characters", low=0, nullable=True),
            Column("num_images_per_prompt", "n_images", "float", "images", low=0, nullable=True),
            Column("num_inference_steps", "n_steps", "float", "diffusion steps", low=0, nullable=True),
            Column("checkpoint_model_version_id", "model", "text", "base model"),
            Column("num_lora", "n_lora", "int", "LoRA adapters", low=0)),
           origin=True, sorts=True, model="model",
           failed=lambda c: ~_is(c, "predict_status", ("SUCCEED",)), failed_doc="a status other than SUCCEED",
           citation="Y. Lin et al., Understanding Diffusion Model Serving in Production, SoCC 2025",
           licence="as stated in the repository", source="github.com/alibaba/clusterdata"),
    Format("alibaba_gpu_2020", "Alibaba GPU trace 2020 (pai_job_table)", "csv",
           (Column("job_name", "job", "text", "job"), Column("inst_id", "inst_id", "text", "links other tables"),
            Column("user", "user", "text", "user"), Column("status", "status", "text", "Terminated, Failed, ..."),
            Column("start_time", "time_s", "float", "submission", low=0),
            Column("end_time", "end_s", "float", "completion", low=0, nullable=True)),
           origin=True, sorts=True, session="user", header=False,
           failed=lambda c: ~_is(c, "status", ("Terminated",)), failed_doc="a status other than Terminated",
           citation="Q. Weng et al., MLaaS in the Wild, NSDI 2022", licence="CC-BY 4.0",
           source="github.com/alibaba/clusterdata"),
    Format("mlperf", "MLPerf LoadGen trace (mlperf_log_trace.json)", "mlperf",
           (Column("ts", "time_s", "float", "scheduled arrival, on the log's clock", per_unit=1e6),
            Column("sample_seq", "sample_seq", "int", "sequence number", low=0),
            Column("query_seq", "query_seq", "int", "query of the sample", low=0),
            Column("sample_idx", "sample_idx", "int", "sample in the library", low=0),
            Column("issue_start_ns", "issue_delay_s", "float", "issue after the scheduled time", per_unit=1e9),
            Column("complete_ns", "latency_s", "float", "completion after the scheduled time", per_unit=1e9)),
           origin=True, sorts=True, session="",
           citation="", licence="", source="github.com/mlcommons/inference"),
    Format("vidur", "Vidur request trace", "csv",
           (Column("arrived_at", "time_s", "float", "arrival", low=0),
            *_tokens("num_prefill_tokens", "num_decode_tokens", "prefill_tokens", "decode_tokens")),
           tokens=("prefill_tokens", "decode_tokens"), source="github.com/microsoft/vidur"),
    Format("dnnsched", "our own requests (CSV, JSONL or Parquet)", "csv",
           (Column("arrival_s", "arrival_s", "float", "arrival", low=0),
            Column("key", "key", "text", "trace that the request runs", optional=True),
            Column("model", "model", "text", "what was asked for", optional=True),
            Column("variant", "variant", "text", "pattern of the model", optional=True),
            Column("sample", "sample", "int", "input sample of the trace", low=0, high=2**31 - 1, optional=True),
            Column("deadline_s", "deadline_s", "float", "absolute; inf or nothing = none", infinity=True,
                   optional=True, nullable=True),
            Column("priority", "priority", "float", "larger is more urgent", low=0, open_low=True, optional=True),
            Column("input_tokens", "input_tokens", "int", "input tokens", low=0, optional=True),
            Column("output_tokens", "output_tokens", "int", "output tokens", low=0, optional=True),
            Column("session_id", "session_id", "text", "session", optional=True)),
           time="arrival_s", model="model", tokens=("input_tokens", "output_tokens"), session="session_id"),
)

FORMATS = {fmt.name: fmt for fmt in _ALL}


def markdown():
    """Every format with its columns, for the documentation."""
    parts = []
    for fmt in FORMATS.values():
        packed = {"csv": "CSV" if fmt.header else "CSV without a header line", "jsonl": "JSON Lines",
                  "mlperf": "LoadGen's trace events"}[fmt.container]
        packed = "CSV, JSON Lines or Parquet" if fmt.name == "dnnsched" else packed
        facts = [packed, f"from {fmt.source}" if fmt.source else "", f"licence: {fmt.licence}" if fmt.licence else "",
                 f"cite {fmt.citation}" if fmt.citation else ""]
        rules = ["Times count from the first request." if fmt.origin else "Times are those of the file."]
        rules += ["Arrival is the end minus the duration."] if fmt.start else []
        rules += ["Rows are sorted by arrival."] if fmt.sorts else ["Rows must be in order of arrival."]
        if fmt.failed:
            rules.append(f"Failed requests: {fmt.failed_doc}; `failures=` must say `\"keep\"` or `\"drop\"`.")
        lines = ["| column | field | type | unit in the file | may be missing | may be empty | meaning |",
                 "|---|---|---|---|---|---|---|"]
        lines += [f"| `{c.name}` | `{c.field}` | {c.kind} | {c.unit or '-'} | {'yes' if c.optional else 'no'} | "
                  f"{'yes' if c.nullable else 'no'} | {c.doc} |" for c in fmt.columns]
        parts.append(f"### `{fmt.name}`: {fmt.title}\n\n{'; '.join(filter(None, facts))}. {' '.join(rules)}\n\n"
                     + "\n".join(lines) + "\n")
    return "\n".join(parts)
