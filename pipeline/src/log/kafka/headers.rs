//! A header's value by its name. The library's own way over all headers panics at a name that is not UTF-8, and anybody
//! who may produce to the topic can write one.
#![expect(unsafe_code, reason = "librdkafka's look-up by name is not wrapped by the library")]

use std::ffi::{CStr, c_void};
use std::{ptr, slice};

use rdkafka::bindings::{rd_kafka_header_get_last, rd_kafka_message_headers, rd_kafka_resp_err_t};
use rdkafka::message::BorrowedMessage;

/// The last value of the header `name`.
pub(super) fn value<'a>(message: &'a BorrowedMessage<'_>, name: &CStr) -> Option<&'a [u8]> {
    let (mut headers, mut value, mut size) = (ptr::null_mut(), ptr::null::<c_void>(), 0);
    // SAFETY: the message lives as long as the borrow, it owns the headers, and they own the value, which stands in
    // memory unchanged for `size` bytes; all three pointers are valid for writing.
    unsafe {
        if rd_kafka_message_headers(message.ptr(), &mut headers) != NO_ERROR
            || rd_kafka_header_get_last(headers, name.as_ptr(), &mut value, &mut size) != NO_ERROR
            || value.is_null()
        {
            return None;
        }
        Some(slice::from_raw_parts(value.cast(), size))
    }
}

/// The same, as text; what is none counts as absent.
pub(super) fn text<'a>(message: &'a BorrowedMessage<'_>, name: &CStr) -> Option<&'a str> {
    std::str::from_utf8(value(message, name)?).ok()
}

const NO_ERROR: rd_kafka_resp_err_t = rd_kafka_resp_err_t::RD_KAFKA_RESP_ERR_NO_ERROR;
