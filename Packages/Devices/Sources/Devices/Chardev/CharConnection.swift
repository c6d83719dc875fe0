internal import LinuxSys

/// The descriptors of one peer, closed when the last user lets go.
///
/// Input and output are one descriptor for sockets and pseudo-terminals, two for standard input and output, or one alone.
final class CharConnection: Sendable {
    private let first: OwnedFD?
    private let second: OwnedFD?
    private let isSocket: Bool
    /// -1 when there is none. Only numbers to be watched; every call goes through the owners.
    let input: Int32
    let output: Int32
    /// Bytes a single write may carry: a blocking pipe that polls writable takes 4096 without waiting, a terminal about 256.
    let largestWrite: Int

    /// A socket or pseudo-terminal, non-blocking.
    init(duplex file: consuming OwnedFD, isSocket: Bool) {
        input = file.raw
        output = file.raw
        first = consume file
        second = nil
        self.isSocket = isSocket
        largestWrite = 4096
    }

    init(input file: consuming OwnedFD?, output other: consuming OwnedFD?, isSocket: Bool = false, largestWrite: Int = 4096) {
        input = Self.number(file)
        output = Self.number(other)
        first = consume file
        second = consume other
        self.isSocket = isSocket
        self.largestWrite = largestWrite
    }

    var isDuplex: Bool { input >= 0 && input == output }

    func read(into bytes: inout [UInt8], limit: Int) throws(Errno) -> Int {
        switch first {
        case .some(let file): return try file.read(into: &bytes, limit: limit)
        case .none: return 0
        }
    }

    func write(_ bytes: [UInt8]) throws(Errno) -> Int {
        if isDuplex {
            switch first {
            case .some(let file): return try Self.write(bytes, to: file, isSocket: isSocket)
            case .none: throw .brokenPipe
            }
        }
        switch second {
        case .some(let file): return try Self.write(bytes, to: file, isSocket: isSocket)
        case .none: throw .brokenPipe
        }
    }

    /// Throws why a connection that was under way has failed.
    func connectionResult() throws(Errno) {
        switch first {
        case .some(let file): try file.connectionResult()
        case .none: throw .badDescriptor
        }
    }

    private static func write(_ bytes: [UInt8], to file: borrowing OwnedFD, isSocket: Bool) throws(Errno) -> Int {
        isSocket ? try file.send(bytes) : try file.write(bytes)
    }

    private static func number(_ file: borrowing OwnedFD?) -> Int32 {
        switch file {
        case .some(let file): file.raw
        case .none: -1
        }
    }
}
