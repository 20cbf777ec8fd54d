use crate::Job;
pub(crate) fn job() -> Job {
    crate::testing::job()
}
