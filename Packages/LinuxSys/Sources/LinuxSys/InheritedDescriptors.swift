internal import CLinuxSys
internal import Glibc
internal import Synchronization

/// The descriptors from 3 on that were open when the program started: what the command line and QMP name by number (`fd=`, `fds=`, `vhostfd=`).
///
/// A number that the program opened later is never taken for one of them. Any thread, but `capture`.
public enum InheritedDescriptors {
    /// Numbers from here on are closed at the start: looking for them would cost every start some milliseconds where the limit on open files is high.
    public static let limit: Int32 = 4096

    private static let table = Mutex(Table())

    /// Notes what is open and sets close-on-exec. At the start of the program, before it opens anything and before it has a second thread.
    public static func capture() {
        sys_close_descriptors_from(UInt32(limit))
        let numbers = openNumbers(in: 3..<limit)
        for number in numbers { sys_set_close_on_exec(number) }
        table.withLock { $0 = Table(numbers) }
    }

    /// Hands over a descriptor; once.
    public static func take(_ number: Int32) throws(InheritedDescriptorError) -> OwnedFD {
        OwnedFD(adopting: try table.withLock { table throws(InheritedDescriptorError) in try table.take(number) })
    }

    /// Closes what nobody has taken: a leak of the parent must not become the VMM's. Taps and vhost-net stay, since a `netdev_add` to come may name them.
    public static func closeUnnamed() {
        table.withLock { $0.closeUnnamed() }
    }

    static func openNumbers(in range: Range<Int32>) -> [Int32] {
        let chunk = Int(DESCRIPTOR_CHUNK)
        var found: [Int32] = []
        unsafe withUnsafeTemporaryAllocation(of: Int32.self, capacity: chunk) { numbers in
            // SAFETY: the shim fills at most DESCRIPTOR_CHUNK places, and only those it counts are read.
            for first in stride(from: range.lowerBound, to: range.upperBound, by: chunk) {
                let count = unsafe sys_open_descriptors(first, numbers.baseAddress)
                for index in 0..<Int(count) where unsafe range.contains(numbers[index]) { unsafe found.append(numbers[index]) }
            }
        }
        return found
    }

    struct Table {
        /// They are few.
        private var entries: [(number: Int32, isTaken: Bool)] = []

        init(_ numbers: [Int32] = []) {
            entries = numbers.map { ($0, false) }
        }

        mutating func take(_ number: Int32) throws(InheritedDescriptorError) -> Int32 {
            guard number > 2 else { throw number < 0 ? .notOpen(number) : .standardStream(number) }
            guard let index = entries.firstIndex(where: { $0.number == number }) else { throw .notOpen(number) }
            if entries[index].isTaken { throw .taken(number) }
            entries[index].isTaken = true
            return number
        }

        mutating func closeUnnamed() {
            entries.removeAll { entry in
                guard !entry.isTaken, !sys_is_network_device(entry.number) else { return false }
                _ = close(entry.number)
                return true
            }
        }
    }
}

/// Why a number names no descriptor that the parent left; one sentence for the user.
public enum InheritedDescriptorError: Error, Equatable, Sendable, CustomStringConvertible {
    /// 0, 1 or 2.
    case standardStream(Int32)
    case notOpen(Int32)
    /// It has been handed out before.
    case taken(Int32)

    public var description: String {
        switch self {
        case .standardStream(let number): "descriptor \(number) is a standard stream"
        case .notOpen(let number): "descriptor \(number) was not open when the program started"
        case .taken(let number): "descriptor \(number) is used twice"
        }
    }
}
