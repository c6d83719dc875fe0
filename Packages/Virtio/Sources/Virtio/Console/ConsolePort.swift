public import Devices
public import LinuxSys

/// A port of a `VirtioConsole`.
public struct ConsolePort: Sendable {
    public enum Kind: Sendable {
        /// A terminal: hvcN in a Linux guest.
        case console
        /// A stream with a name: /dev/vportNpM, and /dev/virtio-ports/NAME where udev makes it.
        case generic
    }

    /// Its `nr`; nil: the first that is free, from 0 for a console and from 1 for others.
    public var number: Int?
    public var kind: Kind
    /// At most 255 bytes; the guest sees it.
    public var name: String?
    public var backend: any CharBackend

    public init(number: Int? = nil, kind: Kind, name: String? = nil, backend: any CharBackend) {
        self.number = number
        self.kind = kind
        self.name = name
        self.backend = backend
    }
}

public enum ConsoleError: Error, Equatable, Sendable, CustomStringConvertible {
    case badMaximumPorts(Int)
    case portOutOfRange(Int, maximum: Int)
    case portInUse(Int)
    case portZeroIsForConsoles
    case tooManyPorts(maximum: Int)
    case nameTooLong
    case host(Errno)

    public var description: String {
        switch self {
        case .badMaximumPorts(let count): "virtio-serial: max_ports=\(count) is not in 1..31"
        case .portOutOfRange(let number, let maximum): "virtio-serial: nr=\(number) is not below max_ports=\(maximum)"
        case .portInUse(let number): "virtio-serial: nr=\(number) is in use"
        case .portZeroIsForConsoles: "virtserialport: nr=0 is for a virtconsole; others begin at 1"
        case .tooManyPorts(let maximum): "virtio-serial: no port is left of max_ports=\(maximum)"
        case .nameTooLong: "virtserialport: name is longer than 255 bytes"
        case .host(let errno): "virtio-serial: \(errno)"
        }
    }
}

extension ConsolePort {
    /// The most ports of a device.
    public static let maximumPorts = 31
    static let longestName = 255

    /// The number of each of `ports`: given ones first, then the others in order.
    static func numbers(_ ports: [ConsolePort], maximum: Int) throws(ConsoleError) -> [Int] {
        guard (1...maximumPorts).contains(maximum) else { throw .badMaximumPorts(maximum) }
        var isTaken = [Bool](repeating: false, count: maximum)
        for port in ports {
            guard (port.name ?? "").utf8.count <= longestName else { throw .nameTooLong }
            guard let number = port.number else { continue }
            guard number >= 0, number < maximum else { throw .portOutOfRange(number, maximum: maximum) }
            guard number != 0 || port.kind == .console else { throw .portZeroIsForConsoles }
            guard !isTaken[number] else { throw .portInUse(number) }
            isTaken[number] = true
        }
        var numbers: [Int] = []
        for port in ports {
            if let number = port.number {
                numbers.append(number)
                continue
            }
            let first = port.kind == .console ? 0 : 1
            guard let number = isTaken.indices.dropFirst(first).first(where: { !isTaken[$0] }) else { throw .tooManyPorts(maximum: maximum) }
            isTaken[number] = true
            numbers.append(number)
        }
        return numbers
    }
}
