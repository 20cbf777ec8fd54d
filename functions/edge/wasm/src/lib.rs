//! [`hub_edge`] for a host that has only memory and numbers in common with us (`supabase/functions/_shared/hub.ts`).
//!
//! The host writes into memory of ours (`take`), calls, and reads what the call returns: a pointer and a length in one number, the
//! pointer above. What it has read it gives back (`give`). Everything is JSON but the body of a request.

use hub_edge::{Answers, Caller, Function, Problem, Refused, Request, Response, Secrets, Step};
use serde::Deserialize;
use serde_json::{Value, json};
use std::{cell::RefCell, collections::HashMap};

thread_local! {
    /// How the calls are answered of which the host has not yet said what came of them.
    static CALLS: RefCell<(u32, HashMap<u32, Answers>)> = RefCell::default();
}

#[derive(Deserialize)]
struct Asked {
    function: String,
    method: String,
    #[serde(default)]
    name: Option<String>,
    headers: HashMap<String, String>,
    now: i64,
    secrets: HashMap<String, String>,
}

fn response(response: &Response) -> Value {
    json!({
        "status": response.status, "content_type": response.content_type, "body": response.body,
        "retry_after": response.retry_after,
    })
}

fn refuse(problem: Problem) -> Value {
    json!({"answer": response(&Response::from(problem))})
}

/// The host and we do not understand each other.
fn fault() -> Problem {
    Problem::new(500, "the hub could not do this; its log says why")
}

/// Lets the functions see a request.
fn seen(asked: &[u8], body: &[u8], see: impl FnOnce(Function, &Request<'_>, &Secrets) -> Value) -> Value {
    let Ok(asked) = serde_json::from_slice::<Asked>(asked) else { return refuse(fault()) };
    let Some(function) = Function::named(&asked.function) else { return refuse(hub_edge::unknown()) };
    let header = |name: &str| asked.headers.get(name).map(String::as_str);
    let variable = |name: &str| asked.secrets.get(name).cloned();
    let secrets = Secrets::from(variable).named(asked.secrets.keys().map(String::as_str), variable);
    let name = asked.name.as_deref();
    see(function, &Request { method: &asked.method, name, header: &header, body, now: asked.now }, &secrets)
}

fn looked(function: Function, request: &Request<'_>, secrets: &Secrets) -> Value {
    match hub_edge::look(function, request, secrets) {
        Ok(()) => json!({"limit": function.body_limit()}),
        Err(problem) => refuse(problem),
    }
}

fn planned(function: Function, request: &Request<'_>, secrets: &Secrets) -> Value {
    use hub_edge::expose;
    match hub_edge::plan(function, request, secrets) {
        Step::Answer(answer) => json!({"answer": response(&answer)}),
        Step::Call(call, answers) => {
            let bearer = match call.caller() {
                Caller::Bearer(token) => Some(expose(&token).to_owned()),
                Caller::Service => None,
            };
            let (name, arguments) = (call.function(), call.arguments());
            let id = CALLS.with_borrow_mut(|(next, calls)| {
                *next = next.wrapping_add(1);
                calls.insert(*next, answers);
                *next
            });
            json!({"call": {"id": id, "function": name, "arguments": arguments, "bearer": bearer}})
        }
    }
}

fn answered(id: u32, ok: bool, said: &[u8]) -> Value {
    let Some(answers) = CALLS.with_borrow_mut(|(_, calls)| calls.remove(&id)) else {
        return response(&Response::from(fault()));
    };
    response(&if ok {
        answers.answer(&serde_json::from_slice(said).unwrap_or(Value::Null))
    } else {
        answers.refuse(&serde_json::from_slice::<Refused>(said).unwrap_or_default())
    })
}

/// Memory for the host to write `length` bytes into.
#[unsafe(no_mangle)]
pub extern "C" fn take(length: usize) -> *mut u8 {
    Box::into_raw(vec![0_u8; length].into_boxed_slice()).cast()
}

/// Gives memory back.
///
/// # Safety
/// `pointer` and `length` are of one [`take`], or of one returned number, and are given back once.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn give(pointer: *mut u8, length: usize) {
    // SAFETY: as the caller promises, a boxed slice of that length.
    drop(unsafe { Box::from_raw(std::ptr::slice_from_raw_parts_mut(pointer, length)) });
}

fn hand_out(value: &Value) -> u64 {
    let bytes = value.to_string().into_bytes().into_boxed_slice();
    let length = bytes.len() as u64;
    (Box::into_raw(bytes).cast::<u8>() as u64) << 32 | length
}

/// Reads a request; what it says is JSON: `{answer}` or `{call: {id, function, arguments, bearer}}`.
///
/// # Safety
/// Both pointers are of [`take`], with its lengths.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn plan(asked: *const u8, asked_length: usize, body: *const u8, body_length: usize) -> u64 {
    // SAFETY: as the caller promises.
    let (asked, body) = unsafe { (std::slice::from_raw_parts(asked, asked_length), std::slice::from_raw_parts(body, body_length)) };
    hand_out(&seen(asked, body, planned))
}

/// Looks at a request without its body; what it says is JSON: `{answer}`, or `{limit}`, the bytes that the body may have.
///
/// # Safety
/// The pointer is of [`take`], with its length.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn look(asked: *const u8, asked_length: usize) -> u64 {
    // SAFETY: as the caller promises.
    let asked = unsafe { std::slice::from_raw_parts(asked, asked_length) };
    hand_out(&seen(asked, &[], looked))
}

/// The response to what the database said to call `id`: with `ok` its answer, otherwise its refusal.
///
/// # Safety
/// The pointer is of [`take`], with its length.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn answer(id: u32, ok: u32, said: *const u8, said_length: usize) -> u64 {
    // SAFETY: as the caller promises.
    let said = unsafe { std::slice::from_raw_parts(said, said_length) };
    hand_out(&answered(id, ok != 0, said))
}
