// SPDX-License-Identifier: MIT
//! State that a guest keeps from call to call, and what it was given at the start: static data, the
//! heap, the seed, the initialisation data.

use alloc::vec::Vec;
use core::cell::UnsafeCell;
use core::hint::black_box;
use core::sync::atomic::{AtomicI32, Ordering};

use hyperlight_guest::error::{ErrorCode, HyperlightGuestError, Result};
use hyperlight_guest::layout;
use hyperlight_guest_bin::guest_function;
use hyperlight_guest_bin::host_comm::read_n_bytes_from_user_memory;

use crate::floor;
use crate::raw::environment;

const PAGE_WORDS: usize = 512;
const PAGES: usize = 1024;
const TABLE_WORDS: usize = 16384; // 64 KiB

/// A static that the one thread of the guest reads and writes.
struct Shared<T>(UnsafeCell<T>);

unsafe impl<T> Sync for Shared<T> {}

#[repr(align(4096))]
struct Pages(#[allow(dead_code)] [[u64; PAGE_WORDS]; PAGES]);

static COUNT: AtomicI32 = AtomicI32::new(0);
static MAIN_RUNS: AtomicI32 = AtomicI32::new(0);
static ZEROES: Shared<Pages> = Shared(UnsafeCell::new(Pages([[0; PAGE_WORDS]; PAGES])));
static TABLE: Shared<[i32; TABLE_WORDS]> = Shared(UnsafeCell::new(table()));
static KEPT: Shared<Vec<u8>> = Shared(UnsafeCell::new(Vec::new()));

const fn table() -> [i32; TABLE_WORDS] {
    let mut words = [0; TABLE_WORDS];
    let mut i = 0;
    while i < TABLE_WORDS {
        words[i] = i as i32 * 3;
        i += 1;
    }
    words
}

/// The first word of a page of the zero-initialised array.
fn page_word(page: usize) -> *mut u64 {
    let pages = ZEROES.0.get().cast::<[u64; PAGE_WORDS]>();
    pages.wrapping_add(page).cast()
}

fn out_of_range() -> HyperlightGuestError {
    HyperlightGuestError::new(ErrorCode::GuestError, "out of range".into())
}

fn checked(n: i32, limit: usize) -> Result<usize> {
    match usize::try_from(n) {
        Ok(n) if n <= limit => Ok(n),
        _ => Err(out_of_range()),
    }
}

pub fn start() {
    MAIN_RUNS.fetch_add(1, Ordering::Relaxed);
}

#[guest_function("MainRuns")]
fn main_runs() -> i32 {
    MAIN_RUNS.load(Ordering::Relaxed)
}

#[guest_function("Count")]
fn count(by: i32) -> i32 {
    COUNT.fetch_add(by, Ordering::Relaxed).wrapping_add(by)
}

#[guest_function("FillPages")]
fn fill_pages(n: i32, value: i32) -> Result<i32> {
    for page in 0..checked(n, PAGES)? {
        let word = value.wrapping_add(page as i32) as u32;
        unsafe { page_word(page).write_volatile(u64::from(word)) };
    }
    Ok(n)
}

#[guest_function("SumPages")]
fn sum_pages(n: i32) -> Result<u64> {
    let mut sum = 0u64;
    for page in 0..checked(n, PAGES)? {
        sum = sum.wrapping_add(unsafe { page_word(page).read_volatile() });
    }
    Ok(sum)
}

#[guest_function("ConstTable")]
fn const_table(i: i32) -> Result<i32> {
    let i = checked(i, TABLE_WORDS - 1)?;
    Ok(unsafe { TABLE.0.get().cast::<i32>().add(i).read_volatile() })
}

#[guest_function("Keep")]
fn keep(bytes: Vec<u8>) -> i32 {
    let kept = unsafe { &mut *KEPT.0.get() };
    kept.extend_from_slice(&bytes);
    kept.len() as i32
}

#[guest_function("Kept")]
fn kept() -> Vec<u8> {
    unsafe { &*KEPT.0.get() }.clone()
}

/// Takes n bytes of the heap, writes to each page of them and never gives them back.
#[guest_function("Alloc")]
fn alloc(n: i32) -> i32 {
    let mut bytes = Vec::<u8>::with_capacity(n.max(0) as usize);
    for page in bytes.spare_capacity_mut().chunks_mut(4096) {
        page[0].write(1);
    }
    black_box(&mut bytes);
    core::mem::forget(bytes);
    n
}

#[guest_function("InitData")]
fn init_data(max: i32) -> Result<Vec<u8>> {
    let size = environment().init_data.size;
    read_n_bytes_from_user_memory(size.min(max.max(0) as u64))
}

/// Exactly n bytes, which is an error if there are fewer.
#[guest_function("InitDataExact")]
fn init_data_exact(n: u64) -> Result<Vec<u8>> {
    read_n_bytes_from_user_memory(n)
}

/// The 32 bits that the runtime gave srand().
#[guest_function("Seed")]
fn seed() -> u64 {
    u64::from(floor::SEED.load(Ordering::Relaxed))
}

#[guest_function("Generation")]
fn generation() -> u64 {
    unsafe { layout::snapshot_generation_gva().read_volatile() }
}
