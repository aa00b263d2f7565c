import pytest

from annotation.models import Project, Role
from tests import factories
from tests.contract.program import Program


@pytest.fixture
def project() -> Project:
    return factories.project()


@pytest.fixture
def manager(project) -> Program:
    return Program(factories.member(project, Role.MANAGER, "meg"))


@pytest.fixture
def annotator(project) -> Program:
    return Program(factories.member(project, Role.ANNOTATOR, "ann"))
