"""Commands that make an artifact: profile, package, sign."""

from pathlib import Path
from typing import Annotated

import typer

from crossfade.cli.context import Session, command
from crossfade.cli.errors import CommandError, UsageError


def register(app: typer.Typer) -> None:
    """Adds the commands."""
    for function in (profile, package, sign):
        app.command(function.__name__)(command(function))


def profile(
    session: Session,
    data: Annotated[
        Path, typer.Argument(metavar="FILE", help="Training data: .csv, .npy or .parquet.", show_default=False)
    ],
    to: Annotated[
        Path | None, typer.Option("--to", help="Write the reference profile here, for package.", metavar="FILE")
    ] = None,
    label: Annotated[
        str,
        typer.Option(
            "--label", help="The column of right answers, for class balance; or a .npy beside a .npy.", metavar="COLUMN"
        ),
    ] = "",
    features: Annotated[
        list[str] | None,
        typer.Option("--features", help="Columns to watch, 64 at most: age,income.", metavar="COLUMNS"),
    ] = None,
    exclude: Annotated[
        list[str] | None, typer.Option("--exclude", help="Columns that are no input of the model.", metavar="COLUMNS")
    ] = None,
    categorical: Annotated[
        list[str] | None, typer.Option("--categorical", help="Columns of categories.", metavar="COLUMNS")
    ] = None,
    codes: Annotated[
        list[str] | None,
        typer.Option("--codes", help="A text column's texts, as the model's 0, 1, 2.", metavar="COLUMN=A,B,C"),
    ] = None,
    input_name: Annotated[
        str,
        typer.Option(
            "--input", help="The model's input that the columns are; default: its first of floats.", metavar="NAME"
        ),
    ] = "",
    bins: Annotated[bool, typer.Option("--bins", help="Show every bin, too.")] = False,
    no_header: Annotated[bool, typer.Option("--no-header", help="The first line of a .csv is a row.")] = False,
) -> None:
    """Look at training data, and make its reference profile.

    Per feature: its bins, missing values, extremes; of the label: the class balance. Drift is measured against it.
    Columns are said by name; by position, from 0, where the file has no names.
    """
    from crossfade.cli.actions.profiling import ProfileOptions, profile_data

    options = ProfileOptions(
        data=data,
        to=to,
        label=label,
        features=tuple(features or ()),
        exclude=tuple(exclude or ()),
        categorical=tuple(categorical or ()),
        codes=tuple(codes or ()),
        input=input_name,
        bins=bins,
        header=not no_header,
    )
    profile_data(session, options)


def package(
    session: Session,
    module: Annotated[str, typer.Argument(metavar="MODULE:NAME", help="path/to/file.py:name or package.module:name.")],
    example: Annotated[
        Path, typer.Option("--example", help="Rows that show types and shapes (.npy or .npz).", metavar="FILE")
    ],
    to: Annotated[Path, typer.Option("--to", help="The artifact's new folder.", metavar="FOLDER")],
    reference: Annotated[
        Path | None, typer.Option("--reference", help="Training inputs, for drift (.npy or .npz).", metavar="FILE")
    ] = None,
    profile: Annotated[
        Path | None,
        typer.Option("--profile", help="Instead of --reference: what crossfade profile --to wrote.", metavar="FILE"),
    ] = None,
    classes: Annotated[
        str, typer.Option("--classes", help="Class names, in the scores' order: keep,churn.", metavar="NAMES")
    ] = "",
    positive: Annotated[
        str, typer.Option("--positive", help="The class that precision and recall are about.", metavar="CLASS")
    ] = "",
    task: Annotated[
        str, typer.Option("--task", help="classification, regression or other; default: inferred.", metavar="TASK")
    ] = "",
    features: Annotated[
        str, typer.Option("--features", help="Names of the input's columns: age,income.", metavar="NAMES")
    ] = "",
    precision: Annotated[
        str, typer.Option("--precision", help="What workers run it in: auto, fp32, bf16 or fp16.", metavar="PRECISION")
    ] = "auto",
    nan_policy: Annotated[
        str,
        typer.Option(
            "--nan-policy", help="Of requests with NaN or infinities: propagate (to it) or raise.", metavar="POLICY"
        ),
    ] = "propagate",
    architecture: Annotated[
        str,
        typer.Option(
            "--architecture", help="Store the weights alone, for Workers that have this architecture.", metavar="NAME"
        ),
    ] = "",
    config: Annotated[
        str, typer.Option("--config", help="What the architecture is built with, as JSON.", metavar="JSON")
    ] = "",
    loop: Annotated[
        Path | None,
        typer.Option(
            "--loop", help="The module is one step of answers in parts: a .json with feeds, parts, …", metavar="FILE"
        ),
    ] = None,
    overwrite: Annotated[bool, typer.Option("--overwrite", help="Replace an artifact that stands there.")] = False,
) -> None:
    """Package a torch model as an artifact.

    NAME is a torch.nn.Module, or a callable without arguments that returns one.
    """
    from crossfade.cli.actions.packaging import PackageOptions, package_module

    options = PackageOptions(
        module=module,
        example=example,
        to=to,
        reference=reference,
        profile=profile,
        classes=classes,
        positive=positive,
        task=task,
        features=features,
        precision=precision,
        nan_policy=nan_policy,
        architecture=architecture,
        config=config,
        loop=loop,
        overwrite=overwrite,
    )
    package_module(session, options)


def sign(
    session: Session,
    folder: Annotated[Path, typer.Argument(metavar="DIR", help="The packaged model.", show_default=False)],
    key: Annotated[
        Path, typer.Option("--key", help="The private key (PEM); crossfade certs signing makes one.", metavar="FILE")
    ],
    password_file: Annotated[
        Path | None, typer.Option("--password-file", help="The password of an encrypted key.", metavar="FILE")
    ] = None,
) -> None:
    """Sign a packaged model, for Workers which trust the key.

    It writes DIR/model.sig (OpenSSF Model Signing), also after the model was published, and anew.
    """
    from crossfade.signing import SigningError, sign_artifact

    try:
        password = None if password_file is None else password_file.read_text(encoding="utf-8").strip()
        signature = sign_artifact(folder, key, password)
    except OSError as error:
        raise CommandError(f"{password_file} cannot be read: {error.strerror}") from error
    except UnicodeDecodeError as error:
        raise UsageError(f"{password_file} is no text: not UTF-8 at byte {error.start}; it has the password") from error
    except SigningError as error:
        raise CommandError(str(error)) from error
    session.show({"signature": str(signature.resolve())}, lambda: f"{signature}: signed with {key}")
