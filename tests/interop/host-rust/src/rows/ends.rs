// SPDX-License-Identifier: MIT
//! How a guest ends: aborts, exceptions, used-up memory, cancellation. Every end poisons, and a
//! restore makes the sandbox good again.

use crate::rows;
use crate::tap::{Outcome, Stop, check, check_eq, check_has, failure};
use crate::world::{SETUP, Setup, World, gives, open, open_with, prepare};
use hyperlight_host::func::{ParameterTuple, Registerable};
use hyperlight_host::{HyperlightError, Result as HostResult};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};

rows![
    aborts_have_code_and_text,
    exits_and_asserts_abort,
    exceptions_have_the_abis_text,
    a_breakpoint_has_the_abis_text,
    a_jump_to_nowhere_shows_no_bytes,
    a_misaligned_vector_load_faults,
    a_stack_overflow_is_a_page_fault,
    the_heap_ends_with_null,
    scratch_ends_with_an_abort,
    an_endless_loop_is_cancelled,
    cancellation_waits_for_a_host_function,
    a_late_cancellation_does_nothing,
    an_unknown_port_ends_the_call,
    a_result_that_is_no_text_is_refused_by_the_runtime,
    an_abort_at_the_start_is_reported,
    a_poisoned_sandbox_refuses_until_it_is_restored,
];

fn aborts_have_code_and_text() -> Outcome {
    let mut w = open("bad")?;
    let snapshot = w.snapshot()?;
    for (code, text) in [
        (0u32, "zero"),
        (42, "it is over"),
        (254, "\u{20AC}"),
        (7, ""),
    ] {
        check_eq(
            w.aborted::<()>("abort_with", (code, text.to_string()))?,
            (code as u8, text.to_string()),
        )?;
        w.restore(snapshot.clone())?;
    }
    let long = "y".repeat(2000);
    check_eq(
        w.aborted::<()>("abort_with", (1u32, long))?,
        (1, "y".repeat(1000)),
    )
}

fn exits_and_asserts_abort() -> Outcome {
    let mut w = open("bad")?;
    let snapshot = w.snapshot()?;
    check_has(
        &w.aborted::<()>("call_exit", 3)?.1,
        "The program called exit(3)",
    )?;
    w.restore(snapshot.clone())?;
    check_has(
        &w.aborted::<()>("assert_that", false)?.1,
        "Assertion failed: condition",
    )?;
    w.restore(snapshot.clone())?;
    gives(&mut w, "assert_that", true, ())?;
    check(
        !w.aborted::<()>("call_abort", ())?.1.is_empty(),
        "abort() without a text",
    )?;
    w.restore(snapshot)?;
    w.aborted::<()>("smash_stack", ()).map(|_| ())
}

/// The six lines; their last number is where the handler's frame is.
fn check_text(end: (u8, String), name: &str, vector: u32, address: u64) -> Outcome {
    let (code, text) = end;
    check_eq(code, 15)?;
    let should = format!("Exception: {name} | Exception vector: {vector}");
    let lines: Vec<_> = text.lines().collect();
    check_eq(lines.len(), 6)?;
    check_eq(lines[0], should.as_str())?;
    check(lines[1].starts_with("Faulting Instruction: 0x"), lines[1])?;
    check(
        lines[2].starts_with("Bytes At Faulting Instruction: ["),
        lines[2],
    )?;
    check_eq(
        lines[3],
        format!("Page Fault Address: {address:#x}").as_str(),
    )?;
    check(lines[4].starts_with("Error code: 0x"), lines[4])?;
    check(
        lines[5].starts_with("Stack Pointer: 0xffffffffffffe"),
        lines[5],
    )
}

#[track_caller]
fn check_exception(
    w: &mut World,
    call: (&str, impl ParameterTuple),
    name: &str,
    vector: u32,
    address: u64,
) -> Outcome {
    let snapshot = w.snapshot()?;
    // The type of the result does not matter: none comes.
    check_text(w.aborted::<i32>(call.0, call.1)?, name, vector, address)?;
    w.restore(snapshot)?;
    Ok(())
}

fn exceptions_have_the_abis_text() -> Outcome {
    let mut w = open("bad")?;
    let far = 0x1234_5678_9000;
    check_exception(&mut w, ("read_null", ()), "PageFault", 14, 0)?;
    check_exception(&mut w, ("read_at", far), "PageFault", 14, far)?;
    check_exception(&mut w, ("write_at", (far + 8, 1)), "PageFault", 14, far + 8)?;
    check_exception(&mut w, ("undefined_instruction", ()), "InvalidOpcode", 6, 0)?;
    check_exception(&mut w, ("divide", (1, 0)), "DivideByZero", 0, 0)?;
    check_exception(
        &mut w,
        ("non_canonical", ()),
        "GeneralProtectionFault",
        13,
        0,
    )?;
    gives(&mut w, "count_up", (), 1)?;
    let mut w = open("plain")?;
    check_exception(&mut w, ("raise", 0), "DivideByZero", 0, 0)?;
    check_exception(&mut w, ("raise", 6), "InvalidOpcode", 6, 0)?;
    check_exception(&mut w, ("raise", 13), "GeneralProtectionFault", 13, 0)
}

fn a_breakpoint_has_the_abis_text() -> Outcome {
    let mut w = open("plain")?;
    check_exception(&mut w, ("raise", 3), "Breakpoint", 3, 0)
}

fn a_jump_to_nowhere_shows_no_bytes() -> Outcome {
    let mut w = open("bad")?;
    let end = w.aborted::<()>("jump_to", 0x1234_5678_9000u64)?;
    check_has(
        &end.1,
        "Bytes At Faulting Instruction: [0, 0, 0, 0, 0, 0, 0, 0]",
    )?;
    check_text(end, "PageFault", 14, 0x1234_5678_9000)
}

fn a_misaligned_vector_load_faults() -> Outcome {
    let mut w = open("bad")?;
    check_exception(
        &mut w,
        ("misaligned_vector_load", ()),
        "GeneralProtectionFault",
        13,
        0,
    )
}

fn a_stack_overflow_is_a_page_fault() -> Outcome {
    let mut w = open("bad")?;
    let snapshot = w.snapshot()?;
    gives(&mut w, "recurse_to", 200, 200 * 201 / 2)?;
    for _ in 0..3 {
        let (code, text) = w.aborted::<i32>("overflow_stack", ())?;
        check_eq(code, 15)?;
        check_has(&text, "Exception: PageFault | ")?;
        check_has(&text, "Page Fault Address: 0xfffffe")?;
        w.restore(snapshot.clone())?;
    }
    gives(&mut w, "recurse_to", 10, 55)
}

fn the_heap_ends_with_null() -> Outcome {
    let mut w = open("bad")?;
    let bytes = w.call::<u64>("exhaust_heap", ())?;
    check(
        bytes > SETUP.heap * 8 / 10 && bytes <= SETUP.heap,
        &format!("{bytes} bytes of heap"),
    )?;
    gives(&mut w, "count_up", (), 1)
}

fn scratch_ends_with_an_abort() -> Outcome {
    let setup = Setup {
        heap: 8 << 20,
        ..SETUP
    };
    let should = (13, "Out of physical memory".to_string());
    let mut w = open_with("bad", &setup)?;
    let snapshot = w.snapshot()?;
    check_eq(w.aborted::<u64>("exhaust_heap", ())?, should.clone())?;
    w.restore(snapshot)?;
    check_eq(w.aborted::<()>("exhaust_scratch", ())?, should.clone())?;
    let mut w = open("plain")?;
    check_eq(w.aborted::<i32>("fill_pages", (1024, 5u64))?, should)
}

/// A call that another thread cancels. It asks again and again, since it may ask before the call
/// begins, and it may be heard without being told so, between two entries of the guest.
fn cancel(w: &mut World, name: &str) -> HostResult<()> {
    let handle = w.interrupt_handle();
    let is_over = AtomicBool::new(false);
    std::thread::scope(|scope| {
        scope.spawn(|| {
            while !is_over.load(Ordering::Acquire) && !handle.kill() {
                std::thread::yield_now();
            }
        });
        let result = w.call::<()>(name, ());
        is_over.store(true, Ordering::Release);
        result
    })
}

fn an_endless_loop_is_cancelled() -> Outcome {
    let mut w = open("bad")?;
    gives(&mut w, "count_up", (), 1)?;
    let snapshot = w.snapshot()?;
    for _ in 0..5 {
        match cancel(&mut w, "loop_forever") {
            Err(HyperlightError::ExecutionCanceledByHost()) => {}
            Err(error) => return Err(error.into()),
            Ok(()) => return Err(failure("the loop ended")),
        }
        check(w.poisoned(), "not poisoned")?;
        w.restore(snapshot.clone())?;
        gives(&mut w, "count_up", (), 2)?;
    }
    gives(&mut w, "count_up", (), 3)
}

fn cancellation_waits_for_a_host_function() -> Outcome {
    let mut w = open("plain")?;
    let snapshot = w.snapshot()?;
    let handle = w.interrupt_handle();
    let killed = move |value: i32| if handle.kill() { -1 } else { value };
    w.sandbox.register_host_function("plus_one", killed)?;
    match w.call::<i32>("chain", 3) {
        Err(HyperlightError::ExecutionCanceledByHost()) => {}
        other => return Err(failure(format!("{other:?}"))),
    }
    check(w.poisoned(), "not poisoned")?;
    w.restore(snapshot)?;
    gives(&mut w, "kept_length", (), 0u32)
}

fn a_late_cancellation_does_nothing() -> Outcome {
    let mut w = open("plain")?;
    for _ in 0..3 {
        check(!w.interrupt_handle().kill(), "there was no call to cancel")?;
        gives(&mut w, "chain", 2, 2)?;
    }
    let handle = w.interrupt_handle();
    drop(w);
    check(handle.dropped() && !handle.kill(), "the sandbox is gone")
}

/// Text that is not UTF-8 must not leave the guest: the host crate could not decode the message.
fn a_result_that_is_no_text_is_refused_by_the_runtime() -> Outcome {
    let mut w = open("bad")?;
    let outcome = w.call::<String>("bad_string", ());
    match outcome {
        Err(HyperlightError::GuestError(..)) => check(!w.poisoned(), "poisoned")?,
        Err(HyperlightError::GuestAborted(..)) => return Ok(()),
        other => return Err(failure(format!("{other:?}"))),
    }
    let (_, text) = w.refused::<()>("bad_fail_text", ())?;
    check_has(&text, "ab")?;
    gives(&mut w, "count_up", (), 1)
}

fn an_unknown_port_ends_the_call() -> Outcome {
    let mut w = open("plain")?;
    let snapshot = w.snapshot()?;
    let error = match w.call::<()>("out_port", 200) {
        Err(error) => error.to_string(),
        Ok(()) => return Err(failure("a port that nobody serves")),
    };
    check_has(&error, "Invalid OutBAction value: 200")?;
    check(w.poisoned(), "not poisoned")?;
    w.restore(snapshot)?;
    gives(&mut w, "chain", 2, 2)
}

fn an_abort_at_the_start_is_reported() -> Outcome {
    let printed = Arc::new(Mutex::new(String::new()));
    match prepare("early_end", &SETUP, &printed)?.evolve() {
        Ok(_) => Err(failure("it started")),
        Err(error) => {
            let text = error.to_string();
            if text.contains("InternalError") {
                return Err(Stop::from(error));
            }
            check_has(&text, "33")?;
            check_has(&text, "it ends here")
        }
    }
}

fn a_poisoned_sandbox_refuses_until_it_is_restored() -> Outcome {
    let mut w = open("bad")?;
    gives(&mut w, "count_up", (), 1)?;
    let snapshot = w.snapshot()?;
    for _ in 0..20 {
        w.aborted::<i32>("read_null", ())?;
        match w.call::<i32>("count_up", ()) {
            Err(HyperlightError::PoisonedSandbox) => {}
            other => return Err(failure(format!("{other:?}"))),
        }
        check(w.snapshot().is_err(), "a snapshot of a poisoned sandbox")?;
        w.restore(snapshot.clone())?;
        check(!w.poisoned(), "still poisoned")?;
        gives(&mut w, "count_up", (), 2)?;
    }
    Ok(())
}
