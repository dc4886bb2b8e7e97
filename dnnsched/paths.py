"""Where the files that come with the package are."""

from pathlib import Path

_PACKAGE = Path(__file__).resolve().parent


def data_dir():
    """Folder of the embedded traces, models and layer tables.

    Returns
    -------
    pathlib.Path
        ``dnnsched/data`` of an installed package, or ``data`` at the top of a source
        checkout when the package runs from there (editable install).

    Raises
    ------
    FileNotFoundError
        If neither exists, which means an incomplete installation.
    """
    for folder in (_PACKAGE / "data", _PACKAGE.parent / "data"):
        if folder.is_dir():
            return folder
    raise FileNotFoundError(f"embedded data: expected a folder 'data' in {_PACKAGE} or beside it; reinstall dnnsched")
