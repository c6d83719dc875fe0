/// Why a device tree cannot be built.
public enum FDTError: Error, Equatable, Sendable, CustomStringConvertible {
    /// The tree outgrew its limit, in bytes.
    case tooLarge(limit: Int)
    /// A node or property name is empty where it must not be, or has a NUL byte.
    case badName
    /// A node ended that was not begun, the tree finished with a node open, or a property stands outside every
    /// node or behind a child.
    case badNesting
    /// A reservation has no bytes.
    case emptyReservation
    /// libfdt's own code, without its sign: a bug in the builder.
    case library(code: Int32)

    public var description: String {
        switch self {
        case .tooLarge(let limit): "the device tree exceeds \(limit) bytes"
        case .badName: "a device tree name is empty or has a NUL byte"
        case .badNesting: "the nodes of the device tree are not nested properly"
        case .emptyReservation: "a device tree reservation has no bytes"
        case .library(let code): "libfdt reports error \(code)"
        }
    }
}
