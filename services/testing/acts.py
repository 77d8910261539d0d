"""What the operations of this service do, in words for the people they concern."""

from shared.audit.acts import Act, declare
from shared.problems import Text

SAMPLING = Text(zh="核酸采样", en="taking swabs")
CUSTODY = Text(zh="样本保管和送检", en="bringing swabs to the laboratory")
RESULTS = Text(zh="检测结果报告和后续处置", en="reporting results, and what follows from them")
OWN = Text(zh="查询检测进度", en="following one's own tests")
TUBE = Text(zh="查看了您样本所在的采样管", en="looked at the tube that holds your swab")
RETEST = Text(zh="查看了您的单采复核安排", en="looked at your retest")

V1 = "/testing/v1"

declare(
    {
        f"POST {V1}/samples": Act(Text(zh="记录了您的采样", en="recorded a swab of yours"), SAMPLING),
        f"GET {V1}/samples/refused": Act(
            Text(zh="查看了您未能入库的采样记录", en="looked at a record of your swab that could not be kept"), SAMPLING
        ),
        f"POST {V1}/samples/{{sample_id}}/undo": Act(
            Text(zh="撤销了您的一条采样记录", en="took back a record of your swab"), SAMPLING
        ),
        f"POST {V1}/samples/{{sample_id}}/move": Act(
            Text(zh="更正了您样本所在的采样管", en="corrected which tube your swab is in"), SAMPLING
        ),
        f"GET {V1}/my-samples": Act(Text(zh="查看了您的采样和检测记录", en="looked at your swabs and results"), OWN),
        f"GET {V1}/my-retests": Act(RETEST, OWN),
        f"POST {V1}/seals": Act(Text(zh="封存了您样本所在的采样管", en="sealed the tube with your swab"), CUSTODY),
        f"GET {V1}/tubes": Act(TUBE, CUSTODY),
        f"GET {V1}/tubes/{{tube_id}}": Act(TUBE, CUSTODY),
        f"POST {V1}/tubes/{{tube_id}}/discard": Act(
            Text(zh="将您样本所在的采样管作废", en="gave up the tube with your swab"), CUSTODY
        ),
        f"POST {V1}/results": Act(Text(zh="报告了您样本的检测结果", en="reported the result of your swab"), RESULTS),
        f"GET {V1}/tubes/{{tube_id}}/results": Act(
            Text(zh="查看了您样本的检测结果", en="looked at the result of your swab"), RESULTS
        ),
        f"GET {V1}/retests": Act(RETEST, RESULTS),
        f"GET {V1}/retests/{{retest_id}}": Act(RETEST, RESULTS),
        f"GET {V1}/campaigns/{{campaign_id}}/missing": Act(
            Text(zh="查看了本轮尚未采样的人员名单，其中有您", en="looked at who is not swabbed yet"),
            SAMPLING,
        ),
    },
    nobody=[
        f"POST {V1}/campaigns",
        f"GET {V1}/campaigns",
        f"GET {V1}/campaigns/{{campaign_id}}",
        *(f"POST {V1}/campaigns/{{campaign_id}}/{move}" for move in ("open", "close", "cancel")),
        f"GET {V1}/campaigns/{{campaign_id}}/progress",
        f"POST {V1}/rolls",
        f"GET {V1}/rolls/{{roll_id}}",
        f"POST {V1}/boxes",
        f"GET {V1}/boxes",
        f"GET {V1}/boxes/{{box_id}}",
        *(f"POST {V1}/boxes/{{box_id}}/{move}" for move in ("pick-up", "depart", "receive")),
    ],
)
