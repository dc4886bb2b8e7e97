"""Request files as the public data sets have them, and what they hold, for the tests of the readers."""

import json

import numpy as np

from dnnsched import Trace, TraceSet, _formats


def traces(samples=5):
    """Three one-model traces with `samples`, `samples` + 1 and `samples` + 2 inputs."""
    rng = np.random.default_rng(3)
    return TraceSet({f"m{i}": Trace(rng.lognormal(-4, 0.5, (samples + i, 3)), None, f"m{i}") for i in range(3)})


def write(path, text):
    path.write_bytes(text if isinstance(text, bytes) else text.encode())
    return path


def csv_text(name, rows, end="\n"):
    fmt = _formats.FORMATS[name]
    head = [",".join(c.name for c in fmt.columns)] if fmt.header else []
    return end.join([*head, *map(",".join, rows)]) + end


# Rows as the public files have them; every column of the format, in the format's order.
ROWS = {
    "azure_llm": [["2023-11-16 18:15:46.6805900", "374", "44"], ["2023-11-16 18:15:50.9951690", "396", "109"],
                  ["2023-11-16 18:15:50.9951690", "879", "55"], ["2023-11-17 00:00:00.0000001", "91", "16"]],
    "azure_lmm": [["2024-10-15 00:00:00.123", "1", "374", "44"], ["2024-10-15 00:00:01", "0", "396", "109"],
                  ["2024-10-15 00:00:01.5", "2", "879", "55"], ["2024-10-15 00:00:02", "0", "91", "16"]],
    "azure_functions": [["734272", "313c03", "5160.142570018768", "0.134"], ["17c37a", "c9f8e3", "5161.25", "0.013"],
                        ["7fa05b", "9bc86d", "5241.5", "142.375"], ["17c37a", "c9f8e3", "5253.5", "0"]],
    "burstgpt": [["5", "", "", "ChatGPT", "472", "18", "490", "Conversation log"],
                 ["45.5", "a-1", "43", "ChatGPT", "1087", "230", "1317", "Conversation log"],
                 ["118", "a-1", "2", "GPT-4", "417", "0", "417", "API log"],
                 ["118", "b", "7", "GPT-4", "300", "12", "312", "API log"]],
    "alibaba_genai": [
        ["2024-11-15 16:57:50", "TXT_2_IMG", "SUCCEED", "32.0", "G0000", "63.0", "26.0", "1.0", "30.0", "M0000", "0"],
        ["2024-11-15 18:16:14", "TXT_2_IMG", "FAILED", "3.0", "G0001", "93.0", "", "1.0", "40.0", "M0001", "0"],
        ["2024-11-15 18:17:06", "IMG_2_IMG", "SUCCEED", "36.0", "G0001", "93.0", "", "8.0", "40.0", "M0001", "1"],
        ["2024-11-15 18:16:59", "IMG_2_IMG", "SUCCEED", "8.0", "G0001", "93.0", "", "8.0", "40.0", "M0001", "2"]],
    "alibaba_gpu_2020": [["4b3f04b66a525d2df903eb16", "8cb3bb", "58540bdf77c5", "Terminated", "550816.0", "551121.0"],
                         ["e202f3d6cf0ae2be2b5a4a19", "26fb1a", "4b3f04b66a52", "Failed", "550700.5", ""],
                         ["773ff7aeba3a5f65b2a4c3a1", "37c1c8", "2a69ad0bb2a8", "Terminated", "550900.0", "551000"],
                         ["573ff7aeba3a5f65b2a4c3a2", "47c1c8", "2a69ad0bb2a8", "Terminated", "550901.0", "551000"]],
    "vidur": [["0.0", "512", "20"], ["0.5", "128", "1"], ["0.5", "64", "3"], ["7.25e-0", "64", "3"]],
    "dnnsched": [["0.5", "m1", "bert", "x", "3", "inf", "1", "10", "5", "s1"],
                 ["0.5", "m0", "bert", "x", "0", "2.5", "9", "20", "6", "s1"],
                 ["1.75", "m2", "resnet", "größe", "6", "", "3", "30", "7", "s2"],
                 ["2", "m2", "resnet", "größe", "1", "3", "1", "40", "8", "s2"]],
}
JSONL = {
    "mooncake": [{"timestamp": 0, "input_length": 6758, "output_length": 500, "hash_ids": [0, 1, 2]},
                 {"timestamp": 3000, "input_length": 7322, "output_length": 490, "hash_ids": [0, 14]},
                 {"timestamp": 3000, "input_length": 7237, "output_length": 794, "hash_ids": []},
                 {"timestamp": 4500.5, "input_length": 2287, "output_length": 316, "hash_ids": [5]}],
    "bailian": [{"chat_id": i, "parent_chat_id": i - 1, "timestamp": t, "input_length": 521, "output_length": 132,
                 "type": "text", "turn": 2, "hash_ids": [1089]} for i, t in enumerate((0.5, 61.114, 61.114, 62.0))],
}
SAMPLES = "".join(
    f'{{"name":"Sample","cat":"default","ph":"b","pid":1,"tid":2,"id":{i},"ts":{ts},"args":{{"sample_seq":{i},'
    f'"query_seq":{i // 2},"sample_idx":{i + 7},"issue_start_ns":{1000 * i},"complete_ns":{2000000 + i}}}}},\n'
    f'{{"name":"Sample","cat":"default","ph":"e","pid":1,"tid":2,"id":{i},"ts":{ts + 2000}}},\n'
    for i, ts in enumerate((-12.345, 15.5, 10.25, 10.25)))
MLPERF = ('{"traceEvents":[\n{"name":"LogDetail","ph":"X","pid":1,"tid":2,"ts":9.042,"dur":2.125,'
          '"args":{"key":""loadgen_version""}},\n' + SAMPLES + '{"name":"LastTrace"}\n]}\n')


def sample_file(tmp_path, name):
    if name in ROWS:
        return write(tmp_path / f"{name}.csv", csv_text(name, ROWS[name]))
    if name == "mlperf":
        return write(tmp_path / "mlperf_log_trace.json", MLPERF)
    return write(tmp_path / f"{name}.jsonl", "".join(json.dumps(r) + "\n" for r in JSONL[name]))


ALL = [*ROWS, *JSONL, "mlperf"]

# Arrival times (seconds) and the order of the rows of the sample files, by hand.
ARRIVALS = {
    "azure_llm": ([0, 4.314579, 4.314579, 20653.3194101], [0, 1, 2, 3]),
    "azure_lmm": ([0, 0.877, 1.377, 1.877], [0, 1, 2, 3]),
    "azure_functions": ([0, 5160.142570018768 - 0.134 - 5099.125, 5161.25 - 0.013 - 5099.125, 5253.5 - 5099.125],
                        [2, 0, 1, 3]),
    "burstgpt": ([0, 40.5, 113, 113], [0, 1, 2, 3]),
    "alibaba_genai": ([0, 4704, 4749, 4756], [0, 1, 3, 2]),
    "alibaba_gpu_2020": ([0, 115.5, 199.5, 200.5], [1, 0, 2, 3]),
    "vidur": ([0, 0.5, 0.5, 7.25], [0, 1, 2, 3]),
    "dnnsched": ([0.5, 0.5, 1.75, 2], [0, 1, 2, 3]),
    "mooncake": ([0, 3, 3, 4.5005], [0, 1, 2, 3]),
    "bailian": ([0.5, 61.114, 61.114, 62], [0, 1, 2, 3]),
    "mlperf": ([0, 22.595e-6, 22.595e-6, 27.845e-6], [0, 2, 3, 1]),
}


def options(name):
    return {"failures": "keep"} if _formats.FORMATS[name].failed else {}
