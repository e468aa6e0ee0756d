from lis import ledger, events as e
from lis.events import TubeKind
from conftest import NOON
def test_x(database):
    with database.write("anna") as unit:
        ledger.append(unit,[("1",e.Registered(TubeKind.SINGLE,1,"fever","x",NOON,NOON)),])
    with database.read() as c:
        print(ledger.verify(c), ledger.history(c,"1"))
        assert ledger.verify(c).ok
