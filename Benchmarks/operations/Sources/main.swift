import COperations
import Glibc
import LinuxSys
import MachineManager

// operations SAMPLES MICROSECONDS [WORD...]: measures the operations whose group or name has one of the words in it (all without any), in samples that take at
// least so long. One JSON object a line: group and name, whether it must not allocate, nanoseconds for each time (a number a sample), how often it was done, how
// often something was allocated meanwhile, and from where first. Benchmarks/micro runs it.

let arguments = ProcessEnvironment.arguments ?? []
guard arguments.count >= 2, let samples = Int(arguments[0]), samples > 0, let microseconds = UInt64(arguments[1]), microseconds > 0 else {
    Log.error("usage: operations SAMPLES MICROSECONDS [WORD...]")
    exit(1)
}
/// Swift's runtime goes the same way.
func objectsAreCounted() -> Bool {
    let before = allocations_count()
    let object = UnsafeMutablePointer<UInt64>.allocate(capacity: samples)
    operations_use(UInt64(UInt(bitPattern: object)))
    object.deallocate()
    return allocations_count() == before + 1
}

guard allocations_are_counted(), objectsAreCounted() else {
    Log.error("operations: allocations are not counted")
    exit(1)
}
let words = arguments.dropFirst(2)
let effort = Effort(samples: samples, nanoseconds: microseconds * 1000)
let groups: [() throws -> [Operation]] = [
    addressOperations, queueOperations, exitOperations, blockOperations, netOperations, consoleOperations, vsockOperations, memoryOperations, textOperations,
]

do {
    for group in groups {
        for operation in try group() where words.isEmpty || words.contains(where: { "\(operation.group) \(operation.name)".contains($0) }) {
            let seen: Observation
            do { seen = try Observation(of: operation, effort) } catch { throw OperationError.refused("\(operation.group), \(operation.name): \(error)") }
            let line: JSONValue = [
                "group": .string(operation.group), "name": .string(operation.name), "free": .bool(operation.isFree),
                "samples": .array(seen.samples.map { .double($0) }), "count": .integer(Int64(seen.count)),
                "allocations": .integer(Int64(seen.allocations)), "stack": .array(seen.stack.map { .unsigned($0) }),
            ]
            var text: [UInt8] = []
            line.write(to: &text)
            StandardStreams.output(String(decoding: text, as: UTF8.self) + "\n")
        }
    }
} catch {
    Log.error("operations: \(error)")
    exit(1)
}
