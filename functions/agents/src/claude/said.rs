//! What Claude says, line by line.

use serde_json::Value;

use crate::words::file;
use crate::{Ask, Event, Job, Tokens, Turn};

use super::input::{self, Asked};
use super::judge::{self, Said};
use super::lenient::{Map, Number};
use super::wire::{Line, Message, Models, Usage};
use super::{FILES, KEPT, MODELS, RAW, State, WORDS, limits, tools};

/// As many ids of messages are remembered: its helpers speak at the same time, each in several lines.
const MESSAGES: usize = 64;

impl State {
    pub(super) fn take(&mut self, job: &Job, bytes: &[u8], turn: &mut Turn) {
        if let Ok(Map(Some(line))) = serde_json::from_slice::<Map<Line<'_>>>(bytes) {
            return self.line(job, &line, bytes, turn);
        }
        let text = String::from_utf8_lossy(bytes);
        if std::str::from_utf8(bytes).is_err()
            && let Ok(Map(Some(line))) = serde_json::from_str::<Map<Line<'_>>>(&text)
        {
            return self.line(job, &line, text.as_bytes(), turn);
        }
        // Older versions say this on standard output, before their result.
        self.lost |= judge::resume_missing(&text);
        raw(bytes, turn);
    }

    fn line(&mut self, job: &Job, line: &Line<'_>, bytes: &[u8], turn: &mut Turn) {
        match line.kind.or_empty() {
            "assistant" => self.assistant(job, line, turn),
            "user" => self.user(job, line, turn),
            "system" => self.system(job, line, bytes, turn),
            "result" => self.result(job, line, turn),
            "control_request" => self.request(job, line, turn),
            "control_cancel_request" => {
                let id = line.request_id.or_empty();
                if let Some(at) = self.asked.iter().position(|asked| asked.id == id) {
                    turn.events.push(Event::Withdrawn(self.asked.remove(at).id));
                }
            }
            "rate_limit_event" => {
                if let Some(info) = &line.rate_limit_info.0 {
                    let limit = limits::from_event(info);
                    if limit.met {
                        self.limit = Some(limit.clone());
                    }
                    self.subscription.get_or_insert(true);
                    self.billed();
                    turn.events.push(Event::Limit(limit));
                }
            }
            // Pieces of messages that come whole as well, signs of life, and our own words.
            "stream_event" | "control_response" | "keep_alive" | "tool_progress" | "tool_use_summary"
            | "auth_status" | "prompt_suggestion" => {}
            _ => raw(bytes, turn),
        }
    }

    /// A turn goes on, or another begins: the result before is not the last.
    fn goes_on(&mut self) {
        self.result = None;
        self.held = None;
    }

    fn assistant(&mut self, job: &Job, line: &Line<'_>, turn: &mut Turn) {
        self.goes_on();
        let Some(message) = &line.message.0 else { return };
        let own = line.parent_tool_use_id.get().is_none();
        let synthetic = message.model.get() == Some("<synthetic>");
        self.session(line);
        if !synthetic {
            self.count(message, turn);
            if own {
                self.trying = None;
                self.figures.model = message.model.owned().or(self.figures.model.take());
            }
        }
        let error = line.error.owned();
        let text = message.content.text.as_deref().into_iter();
        let texts = || {
            text.clone().chain(
                message
                    .content
                    .blocks
                    .iter()
                    .filter(|part| part.kind.get() == Some("text"))
                    .map(|part| part.text.or_empty()),
            )
        };
        if own {
            self.error = error.map(|kind| Said {
                is_error: true,
                kind,
                status: status(line.api_error_status).or(status(line.error_status)),
                text: bounded(texts().next().unwrap_or_default()),
                ..Said::default()
            });
            // What stands for an answer where the provider gave none is no word of the agent.
            if self.error.is_none() && !synthetic {
                for text in texts().filter(|text| !text.trim().is_empty()) {
                    turn.events.push(Event::Text(text.to_owned()));
                }
            }
        }
        for block in message.content.blocks.iter().filter(|block| block.kind.get() == Some("tool_use")) {
            if let Some(used) = self.tools.start(block, &job.folder) {
                self.figures.tool_calls = self.figures.tool_calls.saturating_add(1);
                if !used.quiet {
                    turn.events.push(Event::ToolStart { id: used.id.clone(), words: used.words.clone() });
                }
                if block.name.get() == Some("TodoWrite") {
                    turn.events.push(Event::Plan(self.tools.plan()));
                }
            }
        }
    }

    fn user(&mut self, job: &Job, line: &Line<'_>, turn: &mut Turn) {
        let Some(message) = &line.message.0 else { return };
        if line.is_replay.0 {
            // What was added in several steps may be read as one.
            let text =
                message.content.text.as_deref().or(message.content.blocks.first().and_then(|block| block.text.get()));
            let text = text.unwrap_or_default();
            self.steers.retain(|steer| !text.contains(steer.trim()));
            return;
        }
        for block in message.content.blocks.iter().filter(|block| block.kind.get() == Some("tool_result")) {
            self.goes_on();
            let id = tools::short(block.tool_use_id.or_empty());
            let Some(used) = self.tools.end(&id) else { continue };
            let mut outcome = self.tools.outcome(&used, &block.content.0, block.is_error.0, job.policy);
            let rejected = line.tool_result_meta.0.iter().flat_map(|meta| &meta.0).any(|meta| {
                let decision = meta.permission_decision.0.as_ref().and_then(|permission| permission.decision.get());
                meta.id.get() == Some(&id) && decision == Some("reject")
            });
            if rejected && outcome.refused.is_none() {
                outcome.refused = Some(judge::quoted(&block.content.0));
            }
            for path in &outcome.files {
                let path = file(&job.folder, path);
                if self.figures.files.len() < FILES && !self.figures.files.iter().any(|known| known == path) {
                    self.figures.files.push(path.to_owned());
                }
            }
            if outcome.planned {
                turn.events.push(Event::Plan(self.tools.plan()));
            }
            let words = used.words.clone();
            if !used.quiet {
                turn.events.push(Event::ToolEnd {
                    id: id.clone(),
                    words: outcome.words,
                    ok: !block.is_error.0,
                    files: outcome.files,
                });
            }
            if let Some(why) = outcome.refused {
                self.deny(&id, words, why, turn);
            }
        }
    }

    fn system(&mut self, job: &Job, line: &Line<'_>, bytes: &[u8], turn: &mut Turn) {
        match line.subtype.or_empty() {
            "init" => {
                self.goes_on();
                self.session(line);
                let model = line.model.owned();
                self.figures.model = model.clone().or(self.figures.model.take());
                self.figures.version = line.claude_code_version.owned().or(self.figures.version.take());
                if let Some(source) = line.api_key_source.get() {
                    self.subscription = Some(source == "none" || source == "oauth");
                    self.billed();
                }
                if let Some(id) = &self.figures.session {
                    let version = self.figures.version.clone();
                    turn.events.push(Event::Session { id: id.clone(), model, version });
                }
            }
            "api_retry" => {
                let status = status(line.error_status);
                let class = judge::class(line.error.or_empty(), status);
                self.trying = Some((class, status));
                turn.events.push(Event::Retry {
                    attempt: small(line.attempt).unwrap_or(1),
                    of: small(line.max_retries),
                    status,
                    class,
                    text: line.error.or_empty().to_owned(),
                });
            }
            "model_fallback" | "model_refusal_fallback" => {
                if let Some(to) = line.fallback_model.owned() {
                    self.figures.model = Some(to.clone());
                    turn.events.push(Event::Fallback { from: line.original_model.owned(), to });
                }
            }
            "permission_denied" => {
                let id = tools::short(line.tool_use_id.or_empty());
                let what = self.tools.find(&id).map(|used| used.words.clone());
                let what =
                    what.unwrap_or_else(|| tools::words(line.tool_name.or_empty(), &Default::default(), &job.folder));
                self.deny(&id, what, "It is not permitted.".to_owned(), turn);
            }
            // Also a tool in the foreground that takes long: it has ended before the result.
            "task_started" => self.started(line.task_id.or_empty(), line.description.or_empty()),
            "task_notification" => self.ended(line.task_id.or_empty()),
            "task_updated" => {
                let status = line.patch.0.as_ref().and_then(|patch| patch.status.get());
                if matches!(status, Some("completed" | "failed" | "killed" | "stopped" | "cancelled")) {
                    self.ended(line.task_id.or_empty());
                }
            }
            "background_tasks_changed" => {
                self.background.clear();
                for task in line.tasks.0.iter().flat_map(|task| &task.0) {
                    self.started(task.task_id.or_empty(), task.description.or_empty());
                }
            }
            "status"
            | "informational"
            | "task_progress"
            | "thinking_tokens"
            | "compact_boundary"
            | "hook_started"
            | "hook_progress"
            | "hook_response"
            | "model_refusal_no_fallback"
            | "session_state_changed"
            | "files_persisted"
            | "local_command_output"
            | "post_turn_summary"
            | "memory_recall"
            | "elicitation_complete" => {}
            _ => raw(bytes, turn),
        }
    }

    fn started(&mut self, id: &str, words: &str) {
        let id = tools::short(id);
        if self.background.len() < KEPT && !self.background.iter().any(|(known, _)| *known == id) {
            self.background.push((id, judge::quoted(words)));
        }
    }

    fn ended(&mut self, id: &str) {
        let id = tools::short(id);
        self.background.retain(|(known, _)| *known != id);
    }

    fn result(&mut self, job: &Job, line: &Line<'_>, turn: &mut Turn) {
        let errors = line.errors.0.first().map_or("", |error| error.or_empty());
        let text = line.result.get().filter(|text| !text.is_empty()).unwrap_or(errors);
        let failed = line.is_error.0 || line.subtype.get().is_some_and(|subtype| subtype.starts_with("error"));
        self.lost |= failed && judge::resume_missing(text);
        if self.lost {
            // The session that it names is the one that is not there.
            self.figures.session = None;
        } else if !failed {
            self.session(line);
        }
        self.settle(job, line, turn);
        for refused in line.permission_denials.0.iter().flat_map(|refused| &refused.0) {
            let none = Default::default();
            let input = refused.tool_input.0.as_ref().unwrap_or(&none);
            let what = tools::words(refused.tool_name.or_empty(), input, &job.folder);
            self.deny(&tools::short(refused.tool_use_id.or_empty()), what, "It is not permitted.".to_owned(), turn);
        }
        let before = self.error.take();
        let said = Said {
            is_error: failed,
            subtype: line.subtype.or_empty().to_owned(),
            terminal: line.terminal_reason.or_empty().to_owned(),
            stop: line.stop_reason.or_empty().to_owned(),
            kind: before.as_ref().filter(|_| failed).map(|before| before.kind.clone()).unwrap_or_default(),
            status: status(line.api_error_status).or(before.and_then(|before| before.status).filter(|_| failed)),
            text: bounded(text),
        };
        self.trying = None;
        // Nothing comes after a failure, and an interrupt takes what waited with it, unless a person added something.
        let steered = !self.steers.is_empty() && !self.held_for_steers;
        self.held = match self.background.first() {
            Some((_, work)) if !failed => Some(work.clone()),
            _ => steered.then(|| "what was added to it in the meantime".to_owned()),
        };
        self.held_for_steers = steered;
        self.result = Some(said);
        if self.held.is_none() {
            // A question of a turn that is over is none any more.
            turn.events.extend(self.asked.drain(..).map(|asked| Event::Withdrawn(asked.id)));
            let steers = std::mem::take(&mut self.steers);
            if failed {
                self.unread.extend(steers);
            }
            self.closed = true;
            turn.close_input = true;
            turn.events.push(Event::Final);
        }
    }

    fn request(&mut self, job: &Job, line: &Line<'_>, turn: &mut Turn) {
        let id = line.request_id.or_empty();
        let Some(request) = &line.request.0 else { return };
        if request.subtype.get() != Some("can_use_tool") {
            return input::unknown(id, &mut turn.input);
        }
        if self.asked.iter().any(|asked| asked.id == id) {
            return;
        }
        let input = request.input.clone().unwrap_or_default();
        let name = request.tool_name.or_empty();
        let used = tools::short(request.tool_use_id.or_empty());
        let known = self.tools.find(&used);
        let mut title = known.map_or_else(
            || {
                let text = input.to_string();
                let fields = serde_json::from_str::<Map<super::wire::Input<'_>>>(&text).unwrap_or_default();
                tools::words(name, fields.0.as_ref().unwrap_or(&Default::default()), &job.folder)
            },
            |known| known.words.clone(),
        );
        let mut shown = input.clone();
        if let (Some(plan), Some(fields)) = (known.and_then(|known| known.plan.as_deref()), shown.as_object_mut()) {
            // Newer versions leave the plan out of the question about it.
            fields.entry("plan").or_insert_with(|| Value::from(plan));
        }
        let (mut options, mut questions) = (Vec::new(), None);
        if name == "AskUserQuestion" {
            let all = input.get("questions").and_then(Value::as_array).map(Vec::as_slice).unwrap_or_default();
            let text =
                |value: &Value, field: &str| value.get(field).and_then(Value::as_str).unwrap_or_default().to_owned();
            let texts: Vec<String> = all.iter().map(|question| text(question, "question")).collect();
            title = if texts.is_empty() { title } else { texts.join("\n") };
            if let [question] = all {
                let choices = question.get("options").and_then(Value::as_array).map(Vec::as_slice).unwrap_or_default();
                options.extend(choices.iter().map(|choice| {
                    let (label, more) = (text(choice, "label"), text(choice, "description"));
                    let words = if more.is_empty() { label.clone() } else { format!("{label}: {more}") };
                    (label, words)
                }));
            }
            questions = Some(texts);
        }
        let asked = Asked { id: id.to_owned(), used, title: title.clone(), input, questions };
        if self.asked.len() == input::OPEN {
            let no = input::Answer::No("Too many questions are open.".to_owned(), true);
            input::answer(id, &no, &mut turn.input);
            return self.deny(&asked.used, title, "Too many questions are open.".to_owned(), turn);
        }
        let permission = asked.questions.is_none();
        self.asked.push(asked);
        let tool = request.tool_name.owned();
        turn.events.push(Event::Ask(Ask {
            id: id.to_owned(),
            title,
            tool,
            input: shown,
            why: None,
            options,
            permission,
        }));
    }

    fn session(&mut self, line: &Line<'_>) {
        if let Some(id) =
            line.session_id.get().filter(|id| !id.is_empty() && self.figures.session.as_deref() != Some(id))
        {
            self.figures.session = Some(tools::short(id));
        }
    }

    fn billed(&mut self) {
        self.figures.notional = self.subscription == Some(true) && !self.elsewhere;
    }

    /// Counts a message once, whatever the number of its lines. What it wrote is counted with the result: here it has only begun.
    fn count(&mut self, message: &Message<'_>, turn: &mut Turn) {
        let id = tools::short(message.id.or_empty());
        if self.messages.contains(&id) {
            return;
        }
        if self.messages.len() == MESSAGES {
            self.messages.pop_front();
        }
        self.messages.push_back(id);
        self.figures.turns = self.figures.turns.saturating_add(1);
        let more = tokens(message.usage.0.unwrap_or_default());
        self.untold(message.model.or_empty(), more);
        self.used(more, None, turn);
    }

    /// A result is going to tell what these cost. A helper's model has a price of its own.
    fn untold(&mut self, model: &str, more: Tokens) {
        let (model, untold) = (tools::short(model), &mut self.figures.untold);
        match untold.iter().position(|(known, _)| *known == model) {
            Some(at) => untold[at].1 = plus(untold[at].1, more),
            None if untold.len() < MODELS => untold.push((model, more)),
            None => {}
        }
    }

    /// Counts what a result says: the whole of it, in one of three ways.
    fn settle(&mut self, job: &Job, line: &Line<'_>, turn: &mut Turn) {
        let zero = Models::default();
        let (more, cost) = if let Some(since) = line.model_usage_since_last_result.0 {
            self.elsewhere |= since.elsewhere;
            // The total goes on over resumed sessions, and so it is no use here.
            (models(since), line.total_cost_usd.0.map(|_| since.cost))
        } else if let Some(total) = line.model_usage.0.filter(|total| total.input > 0 || total.output > 0) {
            self.elsewhere |= total.elsewhere;
            let before = self.total.unwrap_or(zero);
            self.total = Some(total);
            let turn_only = tokens(line.usage.0.unwrap_or_default());
            let (used, dollars) = &job.used;
            // Where it counts on from the session before, this turn comes on top of all that was used there.
            let on = self.dollars.is_none()
                && job.resume.is_some()
                && used.input > 0
                && total.input >= used.input.saturating_add(turn_only.input)
                && total.output >= used.output.saturating_add(turn_only.output);
            let base = if on { *used } else { models(before) };
            let known = self.dollars.unwrap_or(if on { *dollars } else { 0.0 });
            (minus(models(total), base), line.total_cost_usd.0.map(|now| (now - known).max(0.0)))
        } else {
            let known = self.dollars.unwrap_or(0.0);
            (tokens(line.usage.0.unwrap_or_default()), line.total_cost_usd.0.map(|now| (now - known).max(0.0)))
        };
        self.billed();
        self.dollars = line.total_cost_usd.0.or(self.dollars);
        self.exact = plus(self.exact, more);
        if cost.is_some() {
            self.figures.untold.clear();
        }
        self.used(minus(self.exact, self.figures.tokens), cost, turn);
    }

    fn used(&mut self, more: Tokens, cost_usd: Option<f64>, turn: &mut Turn) {
        if more == Tokens::default() && cost_usd.is_none() {
            return;
        }
        self.figures.tokens = plus(self.figures.tokens, more);
        if let Some(cost) = cost_usd {
            self.figures.cost_usd = Some(self.figures.cost_usd.unwrap_or(0.0) + cost);
        }
        turn.events.push(Event::Usage { tokens: more, cost_usd });
    }
}

fn tokens(usage: Usage) -> Tokens {
    let cached = usage.cache_read_input_tokens.count();
    let input = usage.input_tokens.count() + usage.cache_creation_input_tokens.count() + cached;
    Tokens { input, output: usage.output_tokens.count(), cached }
}

fn models(models: Models) -> Tokens {
    Tokens { input: models.input, output: models.output, cached: models.cached }
}

fn plus(a: Tokens, b: Tokens) -> Tokens {
    Tokens {
        input: a.input.saturating_add(b.input),
        output: a.output.saturating_add(b.output),
        cached: a.cached.saturating_add(b.cached),
    }
}

fn minus(a: Tokens, b: Tokens) -> Tokens {
    Tokens {
        input: a.input.saturating_sub(b.input),
        output: a.output.saturating_sub(b.output),
        cached: a.cached.saturating_sub(b.cached),
    }
}

fn small(number: Number) -> Option<u32> {
    number.0.and_then(|_| u32::try_from(number.count()).ok())
}

fn status(number: Number) -> Option<u16> {
    number.0.and_then(|_| u16::try_from(number.count()).ok()).filter(|status| (100..600).contains(status))
}

fn bounded(text: &str) -> String {
    text[..text.floor_char_boundary(WORDS)].to_owned()
}

fn raw(bytes: &[u8], turn: &mut Turn) {
    let text = String::from_utf8_lossy(&bytes[..bytes.len().min(RAW)]).into_owned();
    turn.events.push(Event::Raw(text[..text.floor_char_boundary(RAW)].to_owned()));
}
