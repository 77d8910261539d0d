"""What the operations of this service do, for the audit log that residents read."""

from shared.audit.acts import Act, declare
from shared.problems import LocalizedText

SAMPLING = LocalizedText(zh="核酸采样", en="taking swabs")
CUSTODY = LocalizedText(zh="样本保管和送检", en="storing samples and bringing them to the laboratory")
RESULTS = LocalizedText(zh="检测结果报告和后续处置", en="reporting results and follow-up")
OWN = LocalizedText(zh="查询检测进度", en="checking one's own test progress")
TUBE = LocalizedText(zh="查看了您样本所在的采样管", en="viewed the tube with your sample")
RETEST = LocalizedText(zh="查看了您的单采复核安排", en="viewed your retest")

V1 = "/testing/v1"

declare(
    {
        f"POST {V1}/samples": Act(LocalizedText(zh="记录了您的采样", en="recorded your swab"), SAMPLING),
        f"GET {V1}/samples/refused": Act(
            LocalizedText(zh="查看了您未能入库的采样记录", en="viewed a record of your swab that could not be stored"),
            SAMPLING,
        ),
        f"POST {V1}/samples/{{sample_id}}/undo": Act(
            LocalizedText(zh="撤销了您的一条采样记录", en="undid a record of your swab"), SAMPLING
        ),
        f"POST {V1}/samples/{{sample_id}}/move": Act(
            LocalizedText(zh="更正了您样本所在的采样管", en="corrected the tube of your sample"), SAMPLING
        ),
        f"GET {V1}/my-samples": Act(
            LocalizedText(zh="查看了您的采样和检测记录", en="viewed your swabs and results"), OWN
        ),
        f"GET {V1}/my-retests": Act(RETEST, OWN),
        f"POST {V1}/seals": Act(
            LocalizedText(zh="封存了您样本所在的采样管", en="sealed the tube with your sample"), CUSTODY
        ),
        f"GET {V1}/tubes": Act(TUBE, CUSTODY),
        f"GET {V1}/tubes/{{tube_id}}": Act(TUBE, CUSTODY),
        f"POST {V1}/tubes/{{tube_id}}/discard": Act(
            LocalizedText(zh="将您样本所在的采样管作废", en="discarded the tube with your sample"), CUSTODY
        ),
        f"POST {V1}/results": Act(
            LocalizedText(zh="报告了您样本的检测结果", en="reported the result of your sample"), RESULTS
        ),
        f"GET {V1}/tubes/{{tube_id}}/results": Act(
            LocalizedText(zh="查看了您样本的检测结果", en="viewed the result of your sample"), RESULTS
        ),
        f"GET {V1}/retests": Act(RETEST, RESULTS),
        f"GET {V1}/retests/{{retest_id}}": Act(RETEST, RESULTS),
        f"GET {V1}/campaigns/{{campaign_id}}/missing": Act(
            LocalizedText(zh="查看了本轮尚未采样人员名单（含您本人）", en="viewed the list of people not swabbed yet"),
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
