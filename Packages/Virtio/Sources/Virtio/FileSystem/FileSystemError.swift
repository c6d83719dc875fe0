/// Why there is no shared folder: one sentence for the user.
public struct FileSystemError: Error, Equatable, Sendable, CustomStringConvertible {
    public enum Reason: Equatable, Sendable {
        /// Not 1 to 36 bytes, or a zero among them.
        case badTag
        case badQueueCount(Int)
        case backEnd(VhostUserError)
    }

    public let tag: String
    public let reason: Reason

    static func option(_ tag: String) -> String { "-device vhost-user-fs-device,tag=\(tag)" }

    public var description: String {
        let what =
            switch reason {
            case .badTag: "the tag must have 1 to \(VhostUserFileSystem.tagLimit) bytes"
            case .badQueueCount(let count): "\(count) request queues are not possible, 1 to \(VhostUserFileSystem.requestQueueLimit) are"
            case .backEnd(let error): error.description
            }
        return "\(Self.option(tag)): \(what)"
    }
}
