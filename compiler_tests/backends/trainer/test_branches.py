"""Branches that are settled: the one that is taken moves to the left, and the others are gone."""

from __future__ import annotations

from textwrap import dedent

import pytest

from resnet_dsl.backends.trainer.branches import fold_branches


def folded(text: str) -> str:
    return fold_branches(dedent(text).lstrip("\n"))


def lines(text: str) -> str:
    return dedent(text).lstrip("\n")


CHAINS = {
    "a branch that holds": (
        """
        if True:
            a()
            b()
        else:
            c()
        d()
        """,
        """
        a()
        b()
        d()
        """,
    ),
    "one that does not": (
        """
        if False:
            a()
        else:
            b()
        """,
        """
        b()
        """,
    ),
    "one that does not, and nothing else": (
        """
        a()
        if False:
            b()
        c()
        """,
        """
        a()
        c()
        """,
    ),
    "the second of three": (
        """
        if False:
            a()
        elif True:
            b()
        else:
            c()
        """,
        """
        b()
        """,
    ),
    "an elif that comes to be the first": (
        """
        if False:
            a()
        elif (
            x
        ):
            b()
        elif y:
            c()
        """,
        """
        if (
            x
        ):
            b()
        elif y:
            c()
        """,
    ),
    "an elif that comes to be the last": (
        """
        if x:
            a()
        elif True:
            b()
        elif y:
            c()
        else:
            d()
        """,
        """
        if x:
            a()
        else:
            b()
        """,
    ),
    "an elif in the middle that goes": (
        """
        if x:
            a()
        elif False:
            b()
        else:
            c()
        """,
        """
        if x:
            a()
        else:
            c()
        """,
    ),
    "an else of which nothing is left": (
        """
        if x:
            a()
        else:
            if False:
                b()
        """,
        """
        if x:
            a()
        """,
    ),
    "an if in an else is no elif": (
        """
        if False:
            a()
        else:
            if x:
                b()
            c()
        """,
        """
        if x:
            b()
        c()
        """,
    ),
    "branches in branches": (
        """
        for x in y:
            if True:
                if False:
                    a()
                else:
                    if z:
                        b()
                    if True:
                        c()
        """,
        """
        for x in y:
            if z:
                b()
            c()
        """,
    ),
    "all kinds of blocks": (
        """
        with x:
            if True:
                a()
        try:
            if False:
                b()
            c()
        except y:
            d()
            if True:
                e()
        finally:
            if True:
                f()
        match x:
            case 1:
                if True:
                    g()
        @wrapped
        class A:
            @wrapped
            def m(self):
                if True:
                    h()
        while x:
            if True:
                i()
        else:
            if True:
                j()
        """,
        """
        with x:
            a()
        try:
            c()
        except y:
            d()
            e()
        finally:
            f()
        match x:
            case 1:
                g()
        @wrapped
        class A:
            @wrapped
            def m(self):
                h()
        while x:
            i()
        else:
            j()
        """,
    ),
    "what is not settled": (
        """
        if x:  # what
            a()

        elif y is True:
            b()
        # else
        else:
            c()
        """,
        """
        if x:  # what
            a()

        elif y is True:
            b()
        # else
        else:
            c()
        """,
    ),
}


@pytest.mark.parametrize("name", CHAINS)
def test_of_a_chain_stays_what_could_run(name):
    before, after = CHAINS[name]
    assert folded(before) == lines(after)


LEAVING = {
    "return": (
        """
        def f():
            if True:
                return 1
            if x:
                return 2
            return 3


        g()
        """,
        """
        def f():
            return 1


        g()
        """,
    ),
    "in a branch of a branch": (
        """
        def f():
            if True:
                a()
                if False:
                    return 1
                elif True:
                    raise x
                b()
            c()
        """,
        """
        def f():
            a()
            raise x
        """,
    ),
    "in a loop": (
        """
        for x in y:
            if True:
                continue
            a()
        b()
        while x:
            a()
            if True:
                break
            b()
        """,
        """
        for x in y:
            continue
        b()
        while x:
            a()
            break
        """,
    ),
    "only if x": (
        """
        def f():
            if x:
                if True:
                    return 1
            elif False:
                return 2
            return 3
        """,
        """
        def f():
            if x:
                return 1
            return 3
        """,
    ),
}


@pytest.mark.parametrize("name", LEAVING)
def test_what_comes_after_a_branch_that_leaves_goes(name):
    before, after = LEAVING[name]
    assert folded(before) == lines(after)


COMMENTS = {
    "those of the branch stay with it": (
        """
        # Before.
        if True:
            # First.
            a()  # a

            # Second.
            b()
        # After.
        c()
        """,
        """
        # Before.
        # First.
        a()  # a

        # Second.
        b()
        # After.
        c()
        """,
    ),
    "those above one that goes go": (
        """
        a()

        # Why.
        # And what.
        if False:
            b()

        # After.
        c()
        """,
        """
        a()

        # After.
        c()
        """,
    ),
    "one at the head of a paragraph stays with what is left of it": (
        """
        a()

        # What now comes.
        if False:
            b()
        # Only if b.
        if False:
            c()
        d()
        # Only if e.
        if False:
            e()
        f()

        # Nothing of this.
        if False:
            g()
        if False:
            h()

        i()
        """,
        """
        a()

        # What now comes.
        d()
        f()

        i()
        """,
    ),
    "a paragraph stays one": (
        """
        a()

        if False:
            b()
        c()
        """,
        """
        a()

        c()
        """,
    ),
    "no blank line below a colon, and none at the end": (
        """
        def f():
            if False:
                a()

            b()

            if False:
                c()


        d()
        """,
        """
        def f():
            b()


        d()
        """,
    ),
    "one above an else that comes to be the only one": (
        """
        if False:
            a()
        # Otherwise.
        else:
            # So.
            b()
        """,
        """
        # So.
        b()
        """,
    ),
}


@pytest.mark.parametrize("name", COMMENTS)
def test_comments_and_blank_lines_belong_to_what_stands_below_them(name):
    before, after = COMMENTS[name]
    assert folded(before) == lines(after)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("for x in y:\n    if False:\n        a()\n", "line 1: nothing is left"),
        ("if x:\n    if False:\n        a()\n", "line 1: nothing is left"),
        ("def f():\n    if False:\n        a()\n", "line 1: nothing is left"),
        ("if True: a()\n", "line 1: a statement stands behind another"),
        ("if x:\n    a()\nelse: b()\n", "line 3: a statement stands behind another"),
        ("a(); b()\n", "line 1: a statement stands behind another"),
        ('if True:\n    x = """a\n    b"""\n', "line 2: a string of several lines"),
        ('if True:\n    x = f"""a\n    {b}"""\n', "line 2: a string of several lines"),
    ],
)
def test_what_cannot_be_folded_is_refused_with_its_line(text, message):
    with pytest.raises(ValueError, match=message):
        fold_branches(text)


def test_a_string_of_several_lines_may_stand_where_nothing_moves():
    text = 'def f():\n    """Doc.\n\n    More.\n    """\n    if True:\n        return "a"\n'
    assert fold_branches(text) == text.replace('    if True:\n        return "a"', '    return "a"')
