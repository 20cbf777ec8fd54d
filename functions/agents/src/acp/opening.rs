//! How a session is opened: hello, a login if need be, the session, its mode and model, and only then the prompt.

use serde_json::{Value, json};

use super::{Can, MODE, MODEL, Run, SESSION, Stage, VERSION, messages as m, name};
use crate::{
    Class, HubServer, Policy, Turn,
    failure::{self, Failure},
};

impl Run {
    pub(super) fn initialized(&mut self, told: m::Initialized, turn: &mut Turn) {
        let info = told.agent_info.unwrap_or_default();
        if let Some(title) = info.title.or(info.name) {
            self.story.name = name(&failure::shortened(title.trim(), 60));
        }
        self.story.figures.version = info.version.map(|version| failure::shortened(&version, 100));
        if told.protocol_version.is_some_and(|version| version != VERSION) {
            let failure = Failure::of(Class::BadConfig, "it speaks another version of the Agent Client Protocol");
            return self.fail(failure, turn);
        }
        let able = told.agent_capabilities.unwrap_or_default();
        self.can.load = able["loadSession"] == true;
        self.can.resume = able["sessionCapabilities"]["resume"].is_object();
        // The others open a browser, or ask in a terminal.
        let methods = told.auth_methods.into_iter().flatten().filter_map(|method| method.id);
        self.key = methods.filter(|id| id.contains("api-key") || id.contains("api_key")).take(1).next();
        self.stage = Stage::Opening;
        self.open(turn);
    }

    pub(super) fn open(&mut self, turn: &mut Turn) {
        let job = &self.story.job;
        let servers: Vec<Value> = job.hub.iter().map(HubServer::acp).collect();
        let mut params = json!({"cwd": job.folder, "mcpServers": servers});
        let method = match &job.resume {
            Some(session) => {
                params["sessionId"] = session.as_str().into();
                match self.can {
                    Can { resume: true, .. } => "session/resume",
                    Can { load: true, .. } => "session/load",
                    Can { .. } => return self.fail(Failure::no_session("it can not go on with a session"), turn),
                }
            }
            None => "session/new",
        };
        self.peer.call(SESSION, method, params, turn);
    }

    pub(super) fn opened(&mut self, told: m::Opened, turn: &mut Turn) {
        let Some(session) = told.session_id.clone().or_else(|| self.story.job.resume.clone()) else {
            return self.fail(Failure::of(Class::Crashed, "it opened a session without a name"), turn);
        };
        let current = told.models.as_ref().and_then(|models| models.current_model_id.clone());
        let wanted = self.story.job.model.clone();
        let model = wanted.as_deref().or(current.as_deref()).map(str::to_owned);
        self.session = Some(session.clone());
        self.story.session(&session, model.as_deref(), None, turn);
        self.settings = self.to_set(&told, &session);
        if let Some(wanted) = wanted
            && current.is_some_and(|current| current != wanted)
            && self.settings.iter().all(|(id, ..)| *id != MODEL)
        {
            return self.fail(Failure::of(Class::BadConfig, &format!("it has no model {wanted}")), turn);
        }
        self.stage = Stage::Setting;
        self.fresh();
        self.set(turn);
    }

    /// What has to be said before the work begins.
    fn to_set(&self, told: &m::Opened, session: &str) -> Vec<(u64, &'static str, Value)> {
        let job = &self.story.job;
        let mut settings = Vec::new();
        let names = |list: &Option<Vec<Value>>, field: &str| -> Vec<String> {
            let list = list.iter().flatten();
            list.filter_map(|entry| entry[field].as_str().map(str::to_owned)).collect()
        };
        if let Some(modes) = &told.modes {
            let there = names(&modes.available_modes, "id");
            let current = modes.current_mode_id.as_deref().unwrap_or_default();
            let mode = wanted_modes(job.policy).iter().find(|mode| there.iter().any(|there| there == *mode));
            if let Some(mode) = mode.filter(|mode| **mode != current) {
                settings.push((MODE, "session/set_mode", json!({"sessionId": session, "modeId": mode})));
            }
        }
        let Some(model) = &job.model else { return settings };
        let option = told.config_options.iter().flatten().find(|option| option["category"] == "model");
        if let Some(models) = &told.models {
            if models.current_model_id.as_ref() != Some(model)
                && names(&models.available_models, "modelId").contains(model)
            {
                settings.push((MODEL, "session/set_model", json!({"sessionId": session, "modelId": model})));
            }
        } else if let Some(option) = option.filter(|option| option["currentValue"] != **model) {
            let params = json!({"sessionId": session, "configId": option["id"], "value": model});
            settings.push((MODEL, "session/set_config_option", params));
        }
        settings
    }

    pub(super) fn set(&mut self, turn: &mut Turn) {
        if self.settings.is_empty() {
            self.stage = Stage::Working;
            let prompt = self.story.job.prompt.clone();
            return self.prompt(&prompt, turn);
        }
        let (id, method, params) = self.settings.remove(0);
        self.peer.call(id, method, params, turn);
    }

    /// What was told before the work began is of earlier turns, or about settings.
    pub(super) fn fresh(&mut self) {
        let story = &mut self.story;
        (story.said, story.denied, story.failure) = (None, None, None);
        (story.figures.tool_calls, story.figures.turns) = (0, 0);
        story.figures.files.clear();
        self.text.clear();
    }
}

/// The modes in which a policy is best kept, by the names that programs have for them. In any other a program asks, and is answered.
fn wanted_modes(policy: Policy) -> &'static [&'static str] {
    match policy {
        Policy::ReadOnly => &["read-only", "default", "ask"],
        Policy::Edit => &["acceptEdits", "accept-edits", "autoEdit", "auto_edit", "auto-edit", "auto"],
        Policy::Full => &["bypassPermissions", "yolo", "full-access", "full_access"],
    }
}
