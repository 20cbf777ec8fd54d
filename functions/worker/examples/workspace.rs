//! One step with a workspace, in a process that the crate's tests may kill: `workspace STATE ROOT PROJECT NAME make|keep|clean`.

use std::{path::Path, process::ExitCode};

use hub_worker::workspace::Workspaces;

#[tokio::main(flavor = "current_thread")]
async fn main() -> ExitCode {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let [state, root, project, name, step] = arguments.as_slice() else { return ExitCode::from(2) };
    match run(Path::new(state), Path::new(root), project, name, step).await {
        Ok(()) => ExitCode::SUCCESS,
        Err(why) => {
            eprintln!("{why}");
            ExitCode::FAILURE
        }
    }
}

async fn run(
    state: &Path,
    root: &Path,
    project: &str,
    name: &str,
    step: &str,
) -> Result<(), Box<dyn std::error::Error>> {
    let all = Workspaces::new(state, root)?;
    let begun =
        serde_json::json!({"prompt": "", "root": uuid::Uuid::nil(), "name": name, "branch": format!("hub/{name}")});
    let begun = serde_json::from_value(begun)?;
    let directory = root.join(project).canonicalize()?;
    match step {
        "make" => drop(all.open(&begun, &directory).await?),
        "keep" => drop(all.open(&begun, &directory).await?.keep("What was left", uuid::Uuid::nil()).await?),
        "clean" => {
            let cleaned = all.clean(name).await;
            if !cleaned.removed {
                return Err(cleaned.why.unwrap_or_default().into());
            }
        }
        other => return Err(format!("there is no step {other}").into()),
    }
    Ok(())
}
