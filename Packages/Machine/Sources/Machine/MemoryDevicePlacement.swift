/// Where memory devices may be.
struct MemoryDeviceArea: Equatable, Sendable {
    /// Empty where there is no room.
    let range: Range<UInt64>
    /// What else is there.
    var taken: [FixedRange] = []
}

/// Where memory devices are put: behind the guest's RAM, none over another.
enum MemoryDevicePlacement {
    struct Request: Equatable {
        let id: String
        /// Bytes, not 0.
        let size: UInt64
        /// A power of two, of which an address that the user chose must be a multiple.
        let alignment: UInt64
        /// Of which an address chosen here is one: a larger power of two.
        let generousAlignment: UInt64
        /// What the user chose.
        let address: UInt64?
    }

    /// The address of each, in the order of the requests, all of it in `area` and none over what is taken there. Those that the user chose first; the others get the lowest that is free.
    static func place(_ requests: [Request], in area: MemoryDeviceArea) throws(MemoryPlacementError) -> [UInt64] {
        var taken = area.taken.map { (range: $0.range, name: $0.name) }
        var places = [UInt64](repeating: 0, count: requests.count)
        for (index, request) in requests.enumerated() {
            guard let address = request.address else { continue }
            let range = try check(request, address, area.range)
            if let other = taken.first(where: { $0.range.overlaps(range) }) { throw MemoryPlacementError(request.id, .overlaps(address, other: other.name)) }
            taken.append((range, "device '\(request.id)'"))
            places[index] = address
        }
        for (index, request) in requests.enumerated() where request.address == nil {
            let range = try lowestFree(request, area.range, taken.map(\.range))
            taken.append((range, "device '\(request.id)'"))
            places[index] = range.lowerBound
        }
        return places
    }

    private static func check(_ request: Request, _ address: UInt64, _ area: Range<UInt64>) throws(MemoryPlacementError) -> Range<UInt64> {
        guard address % request.alignment == 0 else { throw MemoryPlacementError(request.id, .misaligned(address, alignment: request.alignment)) }
        guard address >= area.lowerBound else { throw MemoryPlacementError(request.id, .tooLow(address, start: area.lowerBound)) }
        let (end, wraps) = address.addingReportingOverflow(request.size)
        guard !wraps, end <= area.upperBound else { throw MemoryPlacementError(request.id, .tooHigh(limit: area.upperBound)) }
        return address..<end
    }

    /// First fit: at the start of the area, or right behind something.
    private static func lowestFree(_ request: Request, _ area: Range<UInt64>, _ taken: [Range<UInt64>]) throws(MemoryPlacementError) -> Range<UInt64> {
        let mask = max(request.alignment, request.generousAlignment) - 1
        for start in ([area.lowerBound] + taken.map(\.upperBound)).sorted() {
            let (sum, overflow) = start.addingReportingOverflow(mask)
            let base = sum & ~mask
            let (end, wraps) = base.addingReportingOverflow(request.size)
            guard !overflow, !wraps, end <= area.upperBound else { break }
            if !taken.contains(where: { $0.overlaps(base..<end) }) { return base..<end }
        }
        throw MemoryPlacementError(request.id, .tooHigh(limit: area.upperBound))
    }
}

/// Why a memory device finds no place: one sentence for the user.
public struct MemoryPlacementError: Error, Equatable, Sendable, CustomStringConvertible {
    public enum Reason: Equatable, Sendable {
        case misaligned(UInt64, alignment: UInt64)
        /// Where RAM or device registers are, or could be.
        case tooLow(UInt64, start: UInt64)
        /// Beyond what the processor can address.
        case tooHigh(limit: UInt64)
        case overlaps(UInt64, other: String)
    }

    public let device: String
    public let reason: Reason

    init(_ device: String, _ reason: Reason) {
        self.device = device
        self.reason = reason
    }

    public var description: String {
        func hex(_ number: UInt64) -> String { "0x" + String(number, radix: 16) }
        let what =
            switch reason {
            case .misaligned(let address, let alignment): "memaddr=\(hex(address)) is not a multiple of \(hex(alignment))"
            case .tooLow(let address, let start): "memaddr=\(hex(address)) is below \(hex(start)), where memory devices begin in this machine"
            case .tooHigh(let limit): "it does not fit below \(hex(limit)), where the processor's physical addresses end"
            case .overlaps(let address, let other): "memaddr=\(hex(address)) is where \(other) is"
            }
        return "-device: memory device '\(device)': \(what)"
    }
}
