/// Finds the end of a broken value: the reader's error state, a few words in size however long the value goes on.
struct JSONRecovery: Sendable {
    enum Step: Equatable { case skipped, startsAnew }

    /// Open arrays and objects.
    private var depth: Int
    var isInString = false
    /// After a backslash in a string.
    var isEscaped = false
    /// The broken value has ended with the byte just skipped.
    private(set) var isDone = false

    init(depth: Int) { self.depth = depth }

    /// Passes one byte over, or says that the reader must take it as the first of a new value.
    mutating func skip(_ byte: UInt8) -> Step {
        // A string cannot span lines, and many clients end each command by one. 0xFF is never part of JSON: QEMU's clients send it to start afresh.
        if byte == 0x0a { return .startsAnew }
        if byte == 0xff {
            isDone = true
            return .skipped
        }
        if isInString {
            skipInString(byte)
            return .skipped
        }
        switch byte {
        case UInt8(ascii: "\"") where depth > 0: isInString = true
        case UInt8(ascii: "{"), UInt8(ascii: "["):
            if depth == 0 { return .startsAnew }
            // It cannot overflow: that takes 2^63 bytes.
            depth &+= 1
        case UInt8(ascii: "}"), UInt8(ascii: "]"):
            if depth == 1 { isDone = true }
            if depth > 0 { depth &-= 1 }
        default: break
        }
        return .skipped
    }

    private mutating func skipInString(_ byte: UInt8) {
        switch byte {
        case _ where isEscaped: isEscaped = false
        case UInt8(ascii: "\\"): isEscaped = true
        case UInt8(ascii: "\""): isInString = false
        default: break
        }
    }
}
