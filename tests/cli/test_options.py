"""The command line itself: where options stand, what is refused, and what help says."""

from __future__ import annotations

import math

import pytest

from p4p_trio.cli import main
from p4p_trio.cli.options import COMMANDS, parse


@pytest.mark.parametrize(
    "line",
    [
        "-w 1 -r value -# 3 -F json -v -d get a b",
        "get -w 1 -r value -# 3 -F json -v -d a b",
        "get a b -w 1 -r value -# 3 -F json -v -d",
        "-w 1 get -r value a -# 3 -F json b -vd",
        "--timeout 1 get --request=value a --elements 3 b --format=json --verbose --debug",
    ],
)
def test_options_stand_anywhere(line: str) -> None:
    options = parse(line.split())
    assert (options.command, options.words) == ("get", ["a", "b"])
    assert (options.timeout, options.request, options.elements, options.format) == (1.0, "value", 3, "json")
    assert options.verbose
    assert options.debug


def test_defaults() -> None:
    options = parse(["get", "a"])
    assert (options.timeout, options.request, options.elements, options.format) == (5.0, "", 20, "delta")
    assert parse(["get", "-F", "json", "a"]).elements == 0
    assert parse(["get", "-F", "json", "-#", "7", "a"]).elements == 7
    assert parse(["call", "a"]).format == "tree"
    assert parse(["get", "-w", "0", "a"]).timeout == math.inf


@pytest.mark.parametrize("number", ["-1", "-0.5", "-1e-3", "-inf"])
def test_a_negative_number_is_a_value(number: str) -> None:
    words = parse(["put", "a", number, "-w", "2"]).words
    assert words in (["a", number], ["a", f"value={number}"])


def test_a_negative_timeout_is_no_value() -> None:
    with pytest.raises(SystemExit):
        parse(["put", "a", "5", "-w", "-1e-3"])


@pytest.mark.parametrize(
    ("line", "told"),
    [
        ("", "COMMAND"),
        ("fetch a", "invalid choice: 'fetch'"),
        ("get", "the following arguments are required: NAME"),
        ("get a --fast", "unrecognized arguments: --fast"),
        ("get a -w soon", "'soon' is no time: write seconds, e.g. 2.5"),
        ("get a -w nan", "is no time"),
        ("get a -# -3", "-#"),
        ("get a -# few", "'few' is no count: write a whole number, 0 for all"),
        ("get a -F xml", "invalid choice: 'xml'"),
        ("get a -r field(value", "expected ) to close field( at position 0"),
        ("-r value info a", "-r means nothing here"),
        ("info -r value a", "unrecognized arguments: -r"),
        ("put a", "write a=VALUE, a VALUE or a FIELD=VALUE"),
        ("put a=1 b", "'b' has no '=': write NAME=VALUE"),
        ("put a=1 a=2", "'a' is given twice"),
        ("put a 1 2", "for an array: '[1, 2]'"),
        ("put a value=1 value=2", "field 'value' is given twice"),
        ("put a [1,2", "a: what begins with { [ or \" must be JSON, and this is not: Expecting ',' delimiter"),
        ("put a {x:1}", "at character 2 'x:1}'"),
        ("call", "the following arguments are required"),
        ("call x=1", "the first argument is the PV to call"),
        ("call a 5", "'5' has no '=': write KEY=VALUE"),
        ("call a =5", "nothing before its '='"),
        ("call a x=1 x=2", "argument 'x' is given twice"),
        ("call a 2x=1", "'2x' is no field name"),
        ("call a x:complex=1", "argument x: unknown type 'complex'; known are bool"),
        ("call a x:int8=300", "argument x: cannot assign '300' to query.x (int8_t)"),
        ("call a x=[]", "an empty array has no type: write x:double[]=[]"),
        ('call a x=[1,"a"]', "must be of one kind"),
        ("list not/a/host", "'not/a/host' is no server"),
        ("serve", "nothing to serve"),
        ("serve --import os", "nothing to serve"),
        ("serve a", "'a' has no '=': write NAME=TYPE"),
        ("serve a=complex", "a: unknown type 'complex'; known are bool"),
        ("serve a=int8=300", "a: cannot assign '300' to value (int8_t)"),
        ("serve a=double a=int8", "'a' is given twice"),
        ("serve a=enum:On,On", "different words with commas between"),
        ("serve a=enum:Off,On=Up", "a: value has no choice 'Up'; the choices are Off, On"),
        ("serve a=enum:Off,On=2", "a: there is no choice 2: there are 2, counted from 0"),
        ("serve a=double:1", "only an enum has choices"),
        ("serve a=double[]=5", "value is an array (double[]): write JSON, such as '[1, 2, 3]'"),
    ],
)
def test_mistakes(line: str, told: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(line.split()) == 2
    printed = capsys.readouterr()
    assert told in printed.err
    assert printed.out == ""
    assert printed.err.startswith("usage: p4p-trio")


@pytest.mark.parametrize("command", ["", *COMMANDS])
def test_help(command: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert main([*command.split(), "--help"]) == 0
    printed = capsys.readouterr()
    assert f"usage: p4p-trio {command}".rstrip() in printed.out
    assert printed.err == ""
    if not command:
        assert all(f"  {name} " in printed.out for name in COMMANDS)


@pytest.mark.parametrize("line", ["-V", "get --version"])
def test_version(line: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(line.split()) == 0
    assert capsys.readouterr().out.startswith("p4p_trio ")
