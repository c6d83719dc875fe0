/// The line by which a program of the host says which port of the guest it wants: `CONNECT 52`, and a line feed. As Firecracker and Cloud Hypervisor have it.
enum VsockGreeting: Equatable {
    /// The line has not come to its end.
    case incomplete
    /// Anything else than such a line.
    case wrong
    /// `count`: bytes of the line, the line feed among them.
    case port(UInt32, count: Int)

    /// Bytes that a line may have.
    static let limit = 32
    private static let word = Array("CONNECT".utf8)

    /// The first `count` of `bytes` are what has come so far, at most `limit`.
    init(_ bytes: [UInt8], count: Int) {
        let bytes = bytes.prefix(min(max(count, 0), Self.limit))
        guard let end = bytes.firstIndex(of: UInt8(ascii: "\n")) else {
            self = bytes.count < Self.limit ? .incomplete : .wrong
            return
        }
        var words = bytes[..<end].split { $0 == UInt8(ascii: " ") || $0 == UInt8(ascii: "\t") || $0 == UInt8(ascii: "\r") }
        guard words.count == 2, let digits = words.popLast(), words[0].map({ $0 & 0xdf }) == Self.word, digits.allSatisfy({ (0x30...0x39).contains($0) }),
            let port = UInt32(String(decoding: digits, as: UTF8.self))
        else {
            self = .wrong
            return
        }
        self = .port(port, count: end &+ 1)
    }

    /// The answer once the guest has accepted; `port` is the host's.
    static func answer(_ port: UInt32) -> [UInt8] { Array("OK \(port)\n".utf8) }
}
