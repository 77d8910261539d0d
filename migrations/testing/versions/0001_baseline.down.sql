-- Takes away what 0001_baseline.sql makes. Functions go last, because triggers of tables call some of them.

DROP TABLE
    testing.retests, testing.results, testing.refused_samples, testing.samples, testing.tubes, testing.rolls,
    testing.tube_serials, testing.boxes, testing.campaign_people, testing.campaigns, testing.laboratories,
    testing.observed, testing.people;

DROP FUNCTION
    testing.purge_expected_people, testing.purge_tubes, testing.purge_retests, testing.purge_refused_samples,
    testing.purge_samples, testing.refuse_change_of_seal;
