//! What Gemini is started with, to speak the Agent Client Protocol.

use crate::{Job, Policy};

/// For `gemini --acp`.
///
/// A folder that is not trusted keeps its settings, hooks and servers to itself, and Gemini then takes no mode but `default`, in which it
/// asks: what the policy covers is answered by the codec. `--skip-trust` is trust for this run.
#[must_use]
pub fn gemini_arguments(job: &Job, trusted: bool, extra: &[String]) -> Vec<String> {
    let mut arguments = vec!["--acp".to_owned()];
    let mode = match (trusted, job.policy) {
        (true, Policy::Edit) => "auto_edit",
        (true, Policy::Full) => "yolo",
        // Not `plan`: there it refuses by itself, to the model alone, and is to write a plan instead of an answer.
        _ => "default",
    };
    arguments.push(format!("--approval-mode={mode}"));
    if trusted {
        arguments.push("--skip-trust".into());
    }
    if let Some(model) = &job.model {
        arguments.push(format!("--model={model}"));
    }
    arguments.extend_from_slice(extra);
    arguments
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::acp::tests::job;

    #[test]
    fn a_folder_is_trusted_by_its_owner_alone() {
        for (trusted, policy, rest) in [
            (false, Policy::Full, &["--approval-mode=default", "--model=-x", "--debug"][..]),
            (true, Policy::ReadOnly, &["--approval-mode=default", "--skip-trust", "--model=-x", "--debug"]),
            (true, Policy::Edit, &["--approval-mode=auto_edit", "--skip-trust", "--model=-x", "--debug"]),
            (true, Policy::Full, &["--approval-mode=yolo", "--skip-trust", "--model=-x", "--debug"]),
        ] {
            let job = Job { policy, model: Some("-x".into()), ..job() };
            let arguments = gemini_arguments(&job, trusted, &["--debug".into()]);
            assert_eq!(
                (arguments[0].as_str(), &arguments[1..]),
                ("--acp", &rest.iter().map(|a| (*a).to_owned()).collect::<Vec<_>>()[..])
            );
        }
    }
}
