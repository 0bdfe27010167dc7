import inspect
import re

from textmad import errors


def test_the_tree_drawn_in_the_docstring_is_the_tree_that_is_there() -> None:
    drawn = dict(re.findall(r"(\w+Error) +(\d+)", errors.__doc__ or ""))
    there = {
        name: str(kind.exit_code)
        for name, kind in inspect.getmembers(errors, inspect.isclass)
        if issubclass(kind, Exception)
    }
    assert drawn == there


def test_each_error_stands_below_the_one_it_is_drawn_under() -> None:
    above: list[type] = [errors.TextmadError]
    for line in (errors.__doc__ or "").splitlines():
        match = re.search(r"[├└]── (\w+)", line)
        if match:
            depth = (match.start() - 4) // 4 + 1
            kind = getattr(errors, match[1])
            assert kind.__base__ is above[depth - 1]
            above[depth:] = [kind]
    assert above[-1] is errors.RunInUseError  # the drawing was read to its end
