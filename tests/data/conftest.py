"""Fixtures of `tests/support` for these tests: small tasks, a tokenizer and a judge."""

from tests.support.made_up_tasks import judge as judge
from tests.support.made_up_tasks import make_task as make_task
from tests.support.made_up_tasks import task_config as task_config
from tests.support.made_up_tasks import tokenizer as tokenizer
