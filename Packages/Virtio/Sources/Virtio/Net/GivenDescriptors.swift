internal import LinuxSys

/// Descriptors that the user gave by number: owned, each once, until they are taken.
final class GivenDescriptors {
    let numbers: [Int32]
    /// A number that is in the list twice, or in another list as well.
    let duplicate: Int32?
    private var left: Set<Int32>

    init(_ numbers: [Int32], except others: [Int32] = []) {
        self.numbers = numbers
        left = Set(numbers).subtracting(others)
        var seen = Set(others)
        duplicate = numbers.first { !seen.insert($0).inserted }
    }

    deinit { for number in left { _ = OwnedFD(adopting: number) } }

    /// Each number once; the second time there is nothing to own.
    func take(_ number: Int32) -> OwnedFD { OwnedFD(adopting: left.remove(number) ?? -1) }
}
